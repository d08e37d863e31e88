"""Surrogates of the clipping family: no trust at all beyond a bound on the ratio.

`r` is the ratio of new to old probability. A surrogate reads all inputs as constants.
"""

import jax.numpy as jnp

from jaxrl.surrogates.ratio import Surrogate, importance_ratio
from jaxrl.types import Array


def importance(
    logp: Array, old_logp: Array, advantages: Array, mask: Array
) -> Surrogate:
    """Trust all data: importance sampling, `value = slope = r`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Not looked at.
      mask: bool [N, T]. Tokens that count.

    Returns:
      float [N, T] each; 1 outside of the mask.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> importance(x, x, x, mask).slope.tolist()
    [[1.0]]
    """
    del advantages
    ratio = importance_ratio(logp, old_logp, mask)
    return Surrogate(value=ratio, slope=ratio)


def clipped(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float | Array = 0.2,
    high: float | Array = 0.2,
) -> Surrogate:
    """Clip the ratio where going on would still pay off: `min(r A, clip(r) A)`.

    With bounds `1 - low` and `1 + high`: slope 0 where `A > 0` and `r` is above the
    upper one, or `A < 0` and `r` is below the lower one; slope `r` elsewhere. A `high`
    above `low` is DAPO's clip-higher.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which bound applies.
      mask: bool [N, T]. Tokens that count.
      low: Distance of the lower bound from 1; epsilon_low. A number, or [N, T].
      high: Distance of the upper bound from 1; epsilon_high. A number, or [N, T].

    Returns:
      float [N, T] each; value 1 and slope 1 outside of the mask.

    Reference: Schulman et al., 2017, Proximal Policy Optimization Algorithms,
    equation 7, arXiv:1707.06347; Yu et al., 2025, DAPO, equation 10, arXiv:2503.14476.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> clipped(x + 1.0, x, x + 1.0, mask).slope.tolist()
    [[0.0]]
    """
    ratio = importance_ratio(logp, old_logp, mask)
    lower, upper = 1.0 - low, 1.0 + high
    above = (advantages > 0) & (ratio > upper)
    below = (advantages < 0) & (ratio < lower)
    value = jnp.where(above, upper, jnp.where(below, lower, ratio))
    return Surrogate(value, jnp.where(above | below, 0.0, ratio))


def dual_clipped(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float | Array = 0.2,
    high: float | Array = 0.2,
    cap: float = 3.0,
) -> Surrogate:
    """Clip as `clipped`, and cap the ratio of bad tokens: `max(min(...), cap A)`.

    Where `A < 0` and `r > cap`, the value is `cap` and the slope 0; a bad token whose
    probability has grown a lot would otherwise dominate the batch. TRL's two-sided
    clipping is the same, with `cap` as its delta.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which bound applies.
      mask: bool [N, T]. Tokens that count.
      low: Distance of the lower bound from 1; epsilon_low. A number, or [N, T].
      high: Distance of the upper bound from 1; epsilon_high. A number, or [N, T].
      cap: Largest ratio of a token with negative advantage, above 1; c.

    Returns:
      float [N, T] each; value 1 and slope 1 outside of the mask.

    Reference: Ye et al., 2020, Mastering Complex Control in MOBA Games with Deep
    Reinforcement Learning, equation 7, arXiv:1912.09729.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> dual_clipped(x + 2.0, x, x - 1.0, mask).slope.tolist()
    [[0.0]]
    """
    trust = clipped(logp, old_logp, advantages, mask, low=low, high=high)
    return capped(trust, advantages, cap=cap)


def capped(trust: Surrogate, advantages: Array, *, cap: float) -> Surrogate:
    """Give up on bad tokens whose value is above `cap`: the dual clip, for any trust.

    Where `A < 0` and `value > cap`, the value is `cap` and the slope 0.

    Args:
      trust: float [N, T] each. A surrogate whose value is a ratio.
      advantages: float [N, T].
      cap: Largest value of a token with negative advantage; c. Infinity for none.

    Returns:
      float [N, T] each.

    Reference: Ye et al., 2020, arXiv:1912.09729, equation 7.

    >>> trust, bad = Surrogate(jnp.array([4.0]), jnp.array([4.0])), jnp.array([-1.0])
    >>> capped(trust, bad, cap=3.0).value.tolist()
    [3.0]
    """
    over = (advantages < 0) & (trust.value > cap)
    return Surrogate(
        jnp.where(over, cap, trust.value), jnp.where(over, 0.0, trust.slope)
    )


def cispo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    lower: float = 0.0,
    upper: float = 5.0,
) -> Surrogate:
    """Clip the weight of each token, never its gradient: `clip(r) A logp`.

    `slope = clip(r, lower, upper)` whatever the sign of the advantage, so every token
    keeps a gradient. The value is `slope * logp`, as the objective reports it. With
    both bounds 1 this is REINFORCE.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Not looked at.
      mask: bool [N, T]. Tokens that count.
      lower: Smallest weight, a ratio; 0 for none.
      upper: Largest weight, a ratio.

    Returns:
      float [N, T] each; value 0 and slope 1 outside of the mask.

    Reference: MiniMax, 2025, MiniMax-M1, equation 4, arXiv:2506.13585. The paper leaves
    the lower bound off and gives no number for the upper one; 5 is ScaleRL's. The verl
    release bounds both sides, `lower=0.8, upper=1.2`.

    >>> x, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    >>> cispo(x + 2.0, x, x, mask).slope.tolist()
    [[5.0]]
    """
    del advantages
    weight = jnp.clip(importance_ratio(logp, old_logp, mask), lower, upper)
    return Surrogate(weight * jnp.where(mask, logp, 0.0), weight)
