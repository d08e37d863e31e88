"""Surrogates that attenuate the ratio smoothly instead of clipping it."""

import chex
import jax
import jax.numpy as jnp

from jaxrl.surrogates.ratio import Surrogate, importance_ratio
from jaxrl.types import Array


def maspo_width(
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    width: float = 1.0,
    mass_power: float = 0.3,
    widest: float = 10.0,
    positive_gain: float = 0.03,
    negative_gain: float = 0.03,
    gain_low: float = 0.1,
    gain_high: float = 10.0,
) -> Array:
    """Width of MASPO's gate: wide for rare tokens and for confident advantages.

    `clip(width * pi_old^-alpha, width, widest)` times `1 + beta_pos A` where `A > 0`
    and `1 / (1 - beta_neg A)` where `A < 0`, limited to [gain_low, gain_high].

    Args:
      old_logp: float [N, T]. Log-probability under the policy that sampled the token.
      advantages: float [N, T]. Assumed to be centred and of unit scale.
      mask: bool [N, T]. Tokens that count.
      width: Width for a certain token; sigma_base.
      mass_power: How fast rare tokens get wider gates; alpha.
      widest: Largest width before the advantage counts; sigma_high.
      positive_gain: Effect of positive advantages; beta_pos.
      negative_gain: Effect of negative advantages; beta_neg.
      gain_low: Smallest effect of the advantage.
      gain_high: Largest effect of the advantage.

    Returns:
      float [N, T], above 0.

    Reference: Mass-Adaptive Soft Policy Optimization, 2026, arXiv:2602.17550.
    Differs from the paper: the limits of the gain are the release's.

    >>> old, mask = jnp.log(jnp.array([[0.5]])), jnp.ones((1, 1), bool)
    >>> print(maspo_width(old, jnp.ones((1, 1)), mask).round(4))
    [[1.2681]]
    """
    chex.assert_equal_shape([old_logp, advantages, mask])
    old_logp = jnp.where(mask, old_logp, 0.0)
    mass = jnp.clip(width * jnp.exp(-mass_power * old_logp), width, widest)
    # Each formula has a pole on the other side of 0.
    good = 1.0 + positive_gain * jnp.maximum(advantages, 0.0)
    bad = 1.0 / (1.0 - negative_gain * jnp.minimum(advantages, 0.0))
    return mass * jnp.clip(good * bad, gain_low, gain_high)


def maspo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    width: float = 1.0,
    mass_power: float = 0.3,
    widest: float = 10.0,
    positive_gain: float = 0.03,
    negative_gain: float = 0.03,
    gain_low: float = 0.1,
    gain_high: float = 10.0,
) -> Surrogate:
    """Attenuate overshooting tokens by a Gaussian of the ratio: `gate * r`.

    `gate = exp(-(r - 1)^2 / (2 sigma^2))` where `A > 0` and `r > 1`, or `A < 0` and
    `r < 1`; 1 elsewhere. The gate is a constant. There is no clip.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Assumed to be centred and of unit scale.
      mask: bool [N, T]. Tokens that count.
      width: Width for a certain token; sigma_base.
      mass_power: How fast rare tokens get wider gates; alpha. 0.5 is for 1.5B models.
      widest: Largest width before the advantage counts; sigma_high.
      positive_gain: Effect of positive advantages on the width; beta_pos.
      negative_gain: Effect of negative advantages on the width; beta_neg.
      gain_low: Smallest effect of the advantage.
      gain_high: Largest effect of the advantage.

    Returns:
      float [N, T] each, equal; 1 outside of the mask.

    Reference: Mass-Adaptive Soft Policy Optimization, 2026, arXiv:2602.17550.

    >>> x, mask = jnp.log(jnp.array([[0.5]])), jnp.ones((1, 1), bool)
    >>> print(maspo(jnp.log(1.5) + x, x, jnp.ones((1, 1)), mask).slope.round(4))
    [[1.3878]]
    """
    ratio = importance_ratio(logp, old_logp, mask)
    sigma = maspo_width(
        old_logp,
        advantages,
        mask,
        width=width,
        mass_power=mass_power,
        widest=widest,
        positive_gain=positive_gain,
        negative_gain=negative_gain,
        gain_low=gain_low,
        gain_high=gain_high,
    )
    overshot = advantages * (ratio - 1.0) > 0
    gate = jnp.exp(-0.5 * ((ratio - 1.0) / sigma) ** 2)
    kappa = jnp.where(overshot, gate * ratio, ratio)
    return Surrogate(kappa, kappa)


def sapo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    positive_temperature: float = 1.0,
    negative_temperature: float = 1.05,
) -> Surrogate:
    """Attenuate the ratio on both sides by a sigmoid: `(4 / tau) sigmoid(tau (r - 1))`.

    The slope is `r / cosh(tau (r - 1) / 2)^2`. The value is `2 / tau` at ratio 1.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which temperature applies.
      mask: bool [N, T]. Tokens that count.
      positive_temperature: tau where `A > 0`; larger is narrower.
      negative_temperature: tau elsewhere.

    Returns:
      float [N, T] each; slope 1 outside of the mask.

    Reference: Gao et al., 2025, Soft Adaptive Policy Optimization, arXiv:2511.20347.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> sapo(x, x, x + 1.0, mask).value.tolist()
    [[2.0]]
    """
    ratio = importance_ratio(logp, old_logp, mask)
    tau = jnp.where(advantages > 0, positive_temperature, negative_temperature)
    tau = tau.astype(ratio.dtype)
    gate = jax.nn.sigmoid(tau * (ratio - 1.0))
    fall = jax.nn.sigmoid(tau * (1.0 - ratio))
    return Surrogate(4.0 / tau * gate, 4.0 * ratio * gate * fall)
