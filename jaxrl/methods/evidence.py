"""Evidence that a method can't do without."""

from typing import TypeVar

T = TypeVar("T")


def required(value: T | None, name: str) -> T:
    """Return `value`, or say which evidence is missing.

    Args:
      value: A field of `Evidence` or `Scores`.
      name: Its name.

    Returns:
      `value`.
    """
    if value is None:
        raise ValueError(
            f"{name} is missing: the scoring step computes what `method.needs` asks "
            "for, so score the batch with the needs of this method"
        )
    return value
