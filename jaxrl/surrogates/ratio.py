"""What every surrogate returns, and the ratio that every one of them starts from."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from jaxrl.types import Array

LARGEST_LOG_RATIO = 20.0
"""Keeps ratios and their squares finite; beyond it, trust is gone anyway."""


class Surrogate(NamedTuple):
    """How far a token's old data is trusted; constants, no gradient flows through them.

    Attributes:
      value: float [N, T]. What the objective reports, per unit of advantage.
      slope: float [N, T]. Its derivative by logp, at least 0; 1 at ratio 1.
    """

    value: Array
    slope: Array


def importance_ratio(logp: Array, old_logp: Array, mask: Array) -> Array:
    """Ratio of new to old probability, `r = exp(logp - old_logp)`.

    The log ratio is limited to +-20 nats, against overflow only.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      mask: bool [N, T]. Tokens that count.

    Returns:
      float [N, T]. 1 outside of the mask.

    >>> ones = jnp.ones((1, 2))
    >>> importance_ratio(ones, ones, jnp.array([[True, False]])).tolist()
    [[1.0, 1.0]]
    """
    chex.assert_equal_shape([logp, old_logp, mask])
    log_ratio = jnp.where(mask, logp, 0.0) - jnp.where(mask, old_logp, 0.0)
    return jnp.exp(jnp.clip(log_ratio, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
