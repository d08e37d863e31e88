"""The error that a user can cause and fix."""


class UserError(ValueError):
    """A mistake in what the user asked for; the command line prints it as one line.

    The message names the field or file, its value, and what to do about it.

    >>> str(UserError("steps is -1; give 0 or more"))
    'steps is -1; give 0 or more'
    """
