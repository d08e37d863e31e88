"""No ratio at all: the data is taken for the trained policy's own."""

import chex
import jax.numpy as jnp

from jaxrl.surrogates.ratio import Surrogate
from jaxrl.types import Array


def reinforce(
    logp: Array, old_logp: Array, advantages: Array, mask: Array
) -> Surrogate:
    """Plain REINFORCE: `value = slope = 1`, however old the data is.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Not looked at.
      advantages: float [N, T]. Not looked at.
      mask: bool [N, T]. Not looked at.

    Returns:
      float [N, T] each, 1.

    Reference: Williams, 1992, Simple statistical gradient-following algorithms for
    connectionist reinforcement learning.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> reinforce(x + 1.0, x, x, mask).slope.tolist()
    [[1.0]]
    """
    chex.assert_equal_shape([logp, old_logp, advantages, mask])
    ones = jnp.ones_like(logp)
    return Surrogate(ones, ones)
