"""A surrogate that weighs good tokens by the inverse of their ratio."""

import jax.numpy as jnp

from jaxrl.surrogates.ratio import Surrogate, importance_ratio
from jaxrl.types import Array


def aspo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float | Array = 0.2,
    high: float | Array = 0.2,
    cap: float = 3.0,
) -> Surrogate:
    """Flip the ratio of good tokens, so that rare ones learn most: `1 / r`.

    `A > 0`: slope `min(1 / r, cap)`, 0 where `r > 1 + high`. `A < 0`: slope
    `min(r, cap)`, 0 where `r < 1 - low`. Beyond the cap, a soft dual clip, the gradient
    stays and the value is `cap * logp`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which ratio and bound apply.
      mask: bool [N, T]. Tokens that count.
      low: Distance of the lower bound from 1; epsilon_low. A number, or [N, T].
      high: Distance of the upper bound from 1; epsilon_high. A number, or [N, T].
      cap: Largest slope; c.

    Returns:
      float [N, T] each; 1 outside of the mask.

    Reference: Wang et al., 2025, ASPO: Asymmetric Importance Sampling Policy
    Optimization, arXiv:2510.06062. Differs from the release: that one has bounds of its
    own for tokens of high entropy, under swapped names; pass them as arrays.

    >>> x, mask = jnp.log(jnp.array([[0.5]])), jnp.ones((1, 1), bool)
    >>> print(aspo(x, jnp.zeros_like(x), jnp.ones((1, 1)), mask).slope.round(4))
    [[2.]]
    """
    ratio = importance_ratio(logp, old_logp, mask)
    lower, upper = 1.0 - low, 1.0 + high
    good = advantages > 0
    clipped = jnp.where(good, ratio > upper, ratio < lower)
    weight = jnp.where(good, 1.0 / ratio, ratio)
    held = jnp.where(good, 1.0 / jnp.minimum(ratio, upper), jnp.maximum(ratio, lower))
    soft = held > cap
    value = jnp.where(soft, cap * jnp.where(mask, logp, 0.0), held)
    slope = jnp.where(soft, cap, jnp.where(clipped, 0.0, weight))
    return Surrogate(value, slope)
