"""Surrogates that trust or distrust a sequence as a whole.

Each pools the log ratio over the tokens of a sequence that are in the mask. `sequence`
tells which those are in packed rows; without it, a row is a sequence.
"""

import jax.numpy as jnp

from jaxrl.surrogates.clipping import clipped
from jaxrl.surrogates.ratio import (
    Surrogate,
    bounded_exp,
    mean_log_ratio,
    sequence_log_ratio,
    sequence_mean_of,
    token_log_ratio,
)
from jaxrl.types import Array


def gspo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float = 3e-4,
    high: float = 4e-4,
    sequence: Array | None = None,
) -> Surrogate:
    """Clip the geometric mean ratio of the sequence, `s = exp(mean of log ratios)`.

    As `clipped`, with `s` in place of `r` for all tokens of the sequence. With weights
    that average over tokens within a sequence this is the exact gradient of `s`.
    Advantages may differ between the tokens of a sequence: that is GSPO-token.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which bound applies.
      mask: bool [N, T]. Tokens that count.
      low: Distance of the lower bound from 1; epsilon_low.
      high: Distance of the upper bound from 1; epsilon_high.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T] each; 1 outside of the mask.

    Reference: Zheng et al., 2025, Group Sequence Policy Optimization, equations 5 to 7
    and 14, arXiv:2507.18071.

    >>> x, mask = jnp.zeros((1, 2)), jnp.ones((1, 2), bool)
    >>> gspo(jnp.array([[1.0, -1.0]]), x, x + 1.0, mask).slope.tolist()
    [[1.0, 1.0]]
    """
    log_ratio = mean_log_ratio(logp, old_logp, mask, sequence)
    unmoved = jnp.zeros_like(log_ratio)
    return clipped(log_ratio, unmoved, advantages, mask, low=low, high=high)


def gmpo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    low: float = 0.4,
    high: float = 0.4,
    sequence: Array | None = None,
) -> Surrogate:
    """Clip token by token, in nats, then take the geometric mean of the sequence.

    Log ratios are limited to at most `high` where `A > 0` and at least `-low` where
    `A < 0`; the value is the exponential of their mean, the slope the same but 0 for
    tokens beyond their limit.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which limit applies.
      mask: bool [N, T]. Tokens that count.
      low: Lower limit of a log ratio, negated, nats.
      high: Upper limit of a log ratio, nats.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T] each; 1 outside of the mask.

    Reference: Zhao et al., 2025, Geometric-Mean Policy Optimization, equation 4,
    arXiv:2507.20673.

    >>> x, mask = jnp.zeros((1, 2)), jnp.ones((1, 2), bool)
    >>> gmpo(jnp.array([[9.0, -0.4]]), x, x + 1.0, mask).slope.tolist()
    [[0.0, 1.0]]
    """
    log_ratio = token_log_ratio(logp, old_logp, mask)
    limited = jnp.where(
        advantages > 0,
        jnp.minimum(log_ratio, high),
        jnp.where(advantages < 0, jnp.maximum(log_ratio, -low), log_ratio),
    )
    mean = bounded_exp(sequence_mean_of(limited, mask, sequence))
    return Surrogate(mean, jnp.where(limited == log_ratio, mean, 0.0))


def topr(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    sequence: Array | None = None,
) -> Surrogate:
    """Learn from good sequences as they are, and from bad ones as far as still likely.

    The weight is 1 where `A >= 0`, and `min(r, 1)` elsewhere, with the ratio `r` of the
    whole sequence (not normalised by length). The value is `weight * logp`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides.
      mask: bool [N, T]. Tokens that count.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T] each; value 0 and slope 1 outside of the mask.

    Reference: Le Roux et al., 2025, Tapered Off-Policy REINFORCE, arXiv:2503.14286.

    >>> x, mask = jnp.log(jnp.array([[0.5, 0.5]])), jnp.ones((1, 2), bool)
    >>> topr(x, jnp.zeros_like(x), -jnp.ones((1, 2)), mask).slope.tolist()
    [[0.25, 0.25]]
    """
    ratio = bounded_exp(sequence_log_ratio(logp, old_logp, mask, sequence))
    weight = jnp.where(advantages >= 0, 1.0, jnp.minimum(ratio, 1.0))
    return Surrogate(weight * jnp.where(mask, logp, 0.0), weight)


def vespo(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    positive_power: float = 2.0,
    positive_rate: float = 3.0,
    negative_power: float = 3.0,
    negative_rate: float = 2.0,
    sequence: Array | None = None,
) -> Surrogate:
    """Weigh a sequence by a gamma shape of its ratio `r`: `r^k exp(lambda (1 - r))`.

    The value is `weight * logp`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Their sign decides which shape applies.
      mask: bool [N, T]. Tokens that count.
      positive_power: k where `A >= 0`.
      positive_rate: lambda where `A >= 0`.
      negative_power: k elsewhere.
      negative_rate: lambda elsewhere.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T] each; value 0 and slope 1 outside of the mask.

    Reference: VESPO, as TRL 1.16 implements it.

    >>> x, mask = jnp.zeros((1, 2)), jnp.ones((1, 2), bool)
    >>> vespo(x, x, x, mask).slope.tolist()
    [[1.0, 1.0]]
    """
    log_ratio = sequence_log_ratio(logp, old_logp, mask, sequence)
    ratio = bounded_exp(log_ratio)
    good = advantages >= 0
    power = jnp.where(good, positive_power, negative_power).astype(ratio.dtype)
    rate = jnp.where(good, positive_rate, negative_rate).astype(ratio.dtype)
    weight = ratio**power * jnp.exp(rate * (1.0 - ratio))
    return Surrogate(weight * jnp.where(mask, logp, 0.0), weight)


def without_strays(
    trust: Surrogate,
    logp: Array,
    old_logp: Array,
    advantages: Array,
    mask: Array,
    *,
    threshold: float,
    sequence: Array | None = None,
) -> Surrogate:
    """Drop bad sequences that the policy has moved away from, for any trust.

    Value and slope are 0 where `A < 0` and the mean of `old_logp - logp` over the
    sequence is above `threshold`.

    Args:
      trust: float [N, T] each. Any surrogate.
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T].
      mask: bool [N, T]. Tokens that count.
      threshold: Largest mean distance, nats.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T] each.

    Reference: DeepSeek-AI, 2025, DeepSeek-V3.2, off-policy sequence masking,
    arXiv:2512.02556.

    >>> x, mask = jnp.ones((1, 2)), jnp.ones((1, 2), bool)
    >>> without_strays(Surrogate(x, x), -x, x, -x, mask, threshold=1.0).slope.tolist()
    [[0.0, 0.0]]
    """
    moved = -mean_log_ratio(logp, old_logp, mask, sequence)
    stray = (advantages < 0) & (moved > threshold)
    return Surrogate(*(jnp.where(stray, 0.0, x) for x in trust))
