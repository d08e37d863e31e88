"""Evidence that a method can't do without."""

from jaxrl.types import Array


def required(value: Array | None, name: str) -> Array:
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
