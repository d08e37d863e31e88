"""Advantages on one scale, across all tokens of the batch."""

import chex
import jax.numpy as jnp

from jaxrl.masking import masked_mean, masked_sum
from jaxrl.types import Array


def whiten(x: Array, mask: Array, *, ddof: int = 1, eps: float = 1e-8) -> Array:
    """Subtract the mean and divide by the deviation of all tokens in the mask.

    `(x - mean) / sqrt(variance + eps)`.

    Args:
      x: float [N, T]. Advantages.
      mask: bool [N, T]. Tokens that count.
      ddof: 1 divides the variance by n - 1, 0 by n.
      eps: Added to the variance.

    Returns:
      float [N, T]. 0 outside of the mask.

    >>> x, mask = jnp.array([[1.0, 3.0, 9.0]]), jnp.array([[True, True, False]])
    >>> whiten(x, mask, ddof=0, eps=0.0).tolist()
    [[-1.0, 1.0, 0.0]]
    """
    chex.assert_equal_shape([x, mask])
    centred = jnp.where(mask, x, 0.0) - masked_mean(x, mask)
    count = jnp.sum(mask.astype(x.dtype))
    variance = masked_sum(centred**2, mask) / jnp.maximum(count - ddof, 1.0)
    return jnp.where(mask, centred / jnp.sqrt(variance + eps), 0.0)
