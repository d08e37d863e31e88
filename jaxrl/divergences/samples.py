"""Estimates of a KL divergence from one sampled token: k1, k2, k3, and a distance.

With `x = logp - other_logp` and tokens sampled from the trained policy, k1 and k3 are
unbiased estimates of `KL(policy || other)`; what their *gradients* minimise is another
matter, and each docstring says it.

Reference: Schulman, 2020, Approximating KL Divergence (joschu.net/blog/kl-approx.html).
"""

import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxrl.types import Array

LARGEST_LOG_RATIO = 20.0
"""Keeps exponentials finite; there is no gradient beyond it."""


def k1(logp: Array, other_logp: Array) -> Array:
    """Estimate by the log ratio, `x`: unbiased, of either sign.

    As a loss on the policy's own samples its gradient is 0 on average: it minimises
    nothing. Subtract it from rewards instead.

    Args:
      logp: float [...]. Log-probability under the trained policy.
      other_logp: float [...]. Under the other policy.

    Returns:
      float [...], nats.

    >>> float(k1(jnp.float32(-1.0), jnp.float32(-1.5)))
    0.5
    """
    return logp - other_logp


def k2(logp: Array, other_logp: Array) -> Array:
    """Estimate by half the squared log ratio, `x^2 / 2`: biased, never negative.

    As a loss on the policy's own samples its gradient is that of the reverse KL,
    `KL(policy || other)`.

    Args:
      logp: float [...]. Log-probability under the trained policy.
      other_logp: float [...]. Under the other policy.

    Returns:
      float [...], nats, at least 0.

    >>> float(k2(jnp.float32(-1.0), jnp.float32(-2.0)))
    0.5
    """
    return 0.5 * (logp - other_logp) ** 2


def k3(logp: Array, other_logp: Array) -> Array:
    """Estimate by `exp(-x) + x - 1`: unbiased, never negative.

    As a loss on the policy's own samples its gradient is that of the forward KL,
    `KL(other || policy)`. Beyond 20 nats it is constant.

    Args:
      logp: float [...]. Log-probability under the trained policy.
      other_logp: float [...]. Under the other policy.

    Returns:
      float [...], nats, at least 0.

    Differs from the verl release: the result isn't limited to 10.

    >>> float(k3(jnp.float32(-1.0), jnp.float32(-1.0)))
    0.0
    """
    x = jnp.clip(logp - other_logp, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    return jnp.expm1(-x) + x


def absolute(logp: Array, other_logp: Array) -> Array:
    """Distance of the log-probabilities, `|x|`: no estimate of a KL, but robust.

    As a loss it pulls with the same force from any distance; no gradient at `x = 0`.

    Args:
      logp: float [...]. Log-probability under the trained policy.
      other_logp: float [...]. Under the other policy.

    Returns:
      float [...], nats, at least 0.

    >>> float(absolute(jnp.float32(-1.0), jnp.float32(-0.5)))
    0.5
    """
    x = logp - other_logp
    # The derivative of `jnp.abs` at 0 is 1, which would push away from the optimum.
    return x * stop_gradient(jnp.sign(x))
