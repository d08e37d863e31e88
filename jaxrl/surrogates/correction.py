"""Correcting for data of another policy than the one that an update starts from.

The sampling engine, or an older version, is the *behaviour* policy; ratios are taken of
the proximal policy, the one the update starts from, to it. They are constants: multiply
advantages by the weights, or drop the tokens that aren't accepted.
"""

import math

import jax.numpy as jnp

from jaxrl.surrogates.ratio import Level, bounded_exp, token_log_ratio
from jaxrl.types import Array


def truncated_importance(
    logp: Array,
    behaviour_logp: Array,
    mask: Array,
    *,
    cap: float = 2.0,
    level: Level = token_log_ratio,
    sequence: Array | None = None,
) -> Array:
    """Weigh tokens by their ratio, at most `cap`: `min(r, cap)` (TIS).

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the proximal policy.
      behaviour_logp: float [N, T]. Under the policy that sampled it.
      mask: bool [N, T]. Tokens that count.
      cap: Largest weight; infinity for plain importance sampling.
      level: Ratio of the token, of the sequence, or its geometric mean: a log ratio
        from `jaxrl.surrogates.ratio`.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T]. At least 0; 0 outside of the mask.

    Reference: Yao et al., 2025, Your Efficient RL Framework Secretly Brings You
    Off-Policy RL Training (fengyao.notion.site/off-policy-rl).

    >>> x, mask = jnp.zeros((1, 2)), jnp.array([[True, False]])
    >>> truncated_importance(x + 1.0, x, mask).tolist()
    [[2.0, 0.0]]
    """
    ratio = bounded_exp(level(logp, behaviour_logp, mask, sequence))
    return jnp.where(mask, jnp.minimum(ratio, cap), 0.0)


def masked_importance(
    logp: Array,
    behaviour_logp: Array,
    mask: Array,
    *,
    low: float = 0.0,
    high: float = 2.0,
    level: Level = token_log_ratio,
    sequence: Array | None = None,
) -> Array:
    """Weigh tokens by their ratio, and drop those outside of the bounds (MIS, IcePop).

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the proximal policy.
      behaviour_logp: float [N, T]. Under the policy that sampled it.
      mask: bool [N, T]. Tokens that count.
      low: Smallest ratio that is trusted. IcePop: 0.5 at the level of tokens.
      high: Largest ratio that is trusted. IcePop: 5.
      level: Ratio of the token, of the sequence, or its geometric mean: a log ratio
        from `jaxrl.surrogates.ratio`.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T]. At least 0; 0 outside of the mask.

    Reference: Liu et al., 2025, When Speed Kills Stability (MIS); Ling Team, 2025,
    Every Step Evolves (IcePop), arXiv:2510.18855.

    >>> x, mask = jnp.zeros((1, 2)), jnp.ones((1, 2), bool)
    >>> masked_importance(jnp.array([[0.0, 1.0]]), x, mask).tolist()
    [[1.0, 0.0]]
    """
    log_ratio = level(logp, behaviour_logp, mask, sequence)
    trusted = mask & within(bounded_exp(log_ratio), low=low, high=high)
    return jnp.where(trusted, bounded_exp(log_ratio), 0.0)


def within(x: Array, *, low: float = -math.inf, high: float = math.inf) -> Array:
    """Tell which entries lie within bounds, which are included.

    Args:
      x: float [...]. A ratio, or an estimate of a divergence.
      low: Smallest entry that is accepted.
      high: Largest entry that is accepted.

    Returns:
      bool [...].

    >>> within(jnp.array([0.5, 1.0, 2.0]), low=1.0, high=2.0).tolist()
    [False, True, True]
    """
    return (low <= x) & (x <= high)
