"""Sums, means and quotients that padding and empty masks can't break."""

import jax.numpy as jnp

from jaxrl.types import Array


def safe_divide(numerator: Array, denominator: Array) -> Array:
    """Divide, with 0 where the denominator is 0, in value and in gradient.

    Args:
      numerator: float [...].
      denominator: float [...], broadcastable.

    Returns:
      float [...].

    >>> float(safe_divide(jnp.float32(3.0), jnp.float32(0.0)))
    0.0
    """
    empty = denominator == 0
    return jnp.where(empty, 0.0, numerator / jnp.where(empty, 1.0, denominator))


def masked_sum(x: Array, mask: Array, axis: int | None = None) -> Array:
    """Sum of `x` where `mask`; what stands elsewhere, NaN included, has no effect.

    Args:
      x: float [...].
      mask: bool [...], same shape.
      axis: Axis to reduce; None reduces all.

    Returns:
      float, `x` without `axis`.

    >>> float(masked_sum(jnp.array([1.0, jnp.nan]), jnp.array([True, False])))
    1.0
    """
    return jnp.sum(jnp.where(mask, x, 0.0), axis=axis)


def masked_mean(x: Array, mask: Array, axis: int | None = None) -> Array:
    """Mean of `x` where `mask`; 0 where the mask is empty.

    Args:
      x: float [...].
      mask: bool [...], same shape.
      axis: Axis to reduce; None reduces all.

    Returns:
      float, `x` without `axis`.

    >>> float(masked_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])))
    2.0
    """
    count = jnp.sum(mask, axis=axis).astype(x.dtype)
    return safe_divide(masked_sum(x, mask, axis), count)
