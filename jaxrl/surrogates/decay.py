"""Surrogates that let trust decay beyond a bound on the ratio, by a power of it.

Outside of a bound `b` the slope is `s * b * (r / b)^p`, on the side where going on
would still pay off. A hard clip is `s = 0`, importance sampling `s = p = 1`.
"""

import math

import jax.numpy as jnp

from jaxrl.surrogates.clipping import capped
from jaxrl.surrogates.ratio import Surrogate, importance_ratio
from jaxrl.types import Array


def power_decay(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float | Array = 0.2,
    high: float | Array = 0.2,
    left_power: float,
    right_power: float,
    left_scale: float = 1.0,
    right_scale: float = 1.0,
) -> Surrogate:
    """Replace the ratio beyond its bound `b` by `scale * b * (r / b)^power`.

    Left: `A < 0` and `r < 1 - low`. Right: `A > 0` and `r > 1 + high`. Elsewhere, also
    where a token moved against its advantage, `value = slope = r`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which bound applies.
      mask: bool [N, T]. Tokens that count.
      low: Distance of the lower bound from 1; epsilon_low. A number, or [N, T].
      high: Distance of the upper bound from 1; epsilon_high. A number, or [N, T].
      left_power: Exponent below the lower bound; 0 is constant, 1 doesn't decay.
      right_power: Exponent above the upper bound; 0 is constant, 1 doesn't decay.
      left_scale: Factor below the lower bound; 0 clips.
      right_scale: Factor above the upper bound; 0 clips.

    Returns:
      float [N, T] each, equal; 1 outside of the mask.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> trust = power_decay(x + 9, x, x + 1, mask, left_power=0.0, right_power=0.0)
    >>> round(float(trust.slope[0, 0]), 3)
    1.2
    """
    ratio = importance_ratio(logp, old_logp, mask)
    lower, upper = 1.0 - low, 1.0 + high
    left = (advantages < 0) & (ratio < lower)
    right = (advantages > 0) & (ratio > upper)
    below = left_scale * lower * (ratio / lower) ** left_power
    above = right_scale * upper * (ratio / upper) ** right_power
    kappa = jnp.where(left, below, jnp.where(right, above, ratio))
    return Surrogate(kappa, kappa)


def dgpo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float | Array = 0.2,
    high: float | Array = 0.2,
    left_order: int = 1,
    right_order: int = 2,
) -> Surrogate:
    """Let the weight on the gradient of the *probability* decay beyond the bounds.

    That weight, `slope / pi`, is `1 / pi_old` inside; outside it falls like `pi^n` on
    the left and `pi^(-1/m)` on the right, so it's bounded by `1 / pi_old` everywhere.
    As slopes: `r^(n+1) / (1-low)^n` and `r^(1-1/m) (1+high)^(1/m)`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which bound applies.
      mask: bool [N, T]. Tokens that count.
      low: Distance of the lower bound from 1; epsilon_low. A number, or [N, T].
      high: Distance of the upper bound from 1; epsilon_high. A number, or [N, T].
      left_order: Order of the decay on the left; n.
      right_order: Order of the root on the right; m. 1 makes the slope constant there.

    Returns:
      float [N, T] each, equal; 1 outside of the mask.

    Reference: Decoupled Gradient Policy Optimization, 2026, arXiv:2603.14389.
    Differs from the release: ratios beyond +-20 nats are limited in the decay, too.

    >>> x, mask = jnp.log(jnp.array([[0.4, 4.8]])), jnp.ones((1, 2), bool)
    >>> trust = dgpo(x, jnp.zeros_like(x), jnp.array([[-1.0, 1.0]]), mask)
    >>> [round(float(slope), 3) for slope in trust.slope[0]]
    [0.2, 2.4]
    """
    return power_decay(
        logp,
        old_logp,
        advantages,
        mask,
        low=low,
        high=high,
        left_power=left_order + 1.0,
        right_power=1.0 - 1.0 / right_order,
    )


def ce_gppo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float | Array = 0.2,
    high: float | Array = 0.2,
    left_scale: float = 0.75,
    right_scale: float = 1.0,
    cap: float = 10.0,
) -> Surrogate:
    """Keep a constant, scaled gradient beyond the bounds, which steers entropy.

    The slope is `left_scale * (1 - low)` on the left and `right_scale * (1 + high)` on
    the right; tokens on the left, were they forgotten, would keep entropy up.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which bound applies.
      mask: bool [N, T]. Tokens that count.
      low: Distance of the lower bound from 1; epsilon_low. A number, or [N, T].
      high: Distance of the upper bound from 1; epsilon_high. A number, or [N, T].
      left_scale: Factor on the left; beta_1. 0.75 is for 7B models, 0.5 for 1.5B.
      right_scale: Factor on the right; beta_2.
      cap: Largest slope of a token with negative advantage (dual clip); c.

    Returns:
      float [N, T] each; 1 outside of the mask.

    Reference: Su et al., 2025, CE-GPPO: Coordinating Entropy via Gradient-Preserving
    Policy Optimization, arXiv:2509.20712.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> round(float(ce_gppo(x - 3.0, x, x - 1.0, mask).slope[0, 0]), 3)
    0.6
    """
    trust = power_decay(
        logp,
        old_logp,
        advantages,
        mask,
        low=low,
        high=high,
        left_power=0.0,
        right_power=0.0,
        left_scale=left_scale,
        right_scale=right_scale,
    )
    return capped(trust, advantages, cap=cap)


def gppo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float | Array = 0.2,
    high: float | Array = 0.2,
    cap: float = math.inf,
) -> Surrogate:
    """Keep a constant gradient beyond the bounds: `ce_gppo` with both scales 1.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which bound applies.
      mask: bool [N, T]. Tokens that count.
      low: Distance of the lower bound from 1; epsilon_low. A number, or [N, T].
      high: Distance of the upper bound from 1; epsilon_high. A number, or [N, T].
      cap: Largest slope of a token with negative advantage (dual clip); c.

    Returns:
      float [N, T] each; 1 outside of the mask.

    Reference: Su et al., 2025, Klear-Reasoner: Advancing Reasoning Capability via
    Gradient-Preserving Clipping Policy Optimization, arXiv:2508.07629.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> round(float(gppo(x - 3.0, x, x - 1.0, mask).slope[0, 0]), 3)
    0.8
    """
    return ce_gppo(
        logp,
        old_logp,
        advantages,
        mask,
        low=low,
        high=high,
        left_scale=1.0,
        right_scale=1.0,
        cap=cap,
    )
