"""Credit of selecting, using and distilling skills from one outcome per episode.

K is the number of candidate skills that were retrieved for an episode.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxrl.masking import masked_sum, safe_divide
from jaxrl.types import Array


class SkillRewards(NamedTuple):
    """Rewards of one episode's three kinds of decision; float [N] each.

    Attributes:
      used: Of queries and actions.
      ranked: Of the ranking of candidates, 0 to 1.
      distilled: Of the new skill.
    """

    used: Array
    ranked: Array
    distilled: Array


def utility_gains(utility: Array, valid: Array) -> Array:
    """Gain of ranking a candidate well: its utility.

    Args:
      utility: float [N, K].
      valid: bool [N, K].

    Returns:
      float [N, K]. 0 where there is no candidate.

    >>> utility_gains(jnp.array([[0.5]]), jnp.array([[True]])).tolist()
    [[0.5]]
    """
    return jnp.where(valid, utility, 0.0)


def rank_gains(utility: Array, valid: Array) -> Array:
    """Gain of ranking a candidate well: how many candidates it beats, plus one.

    Args:
      utility: float [N, K].
      valid: bool [N, K].

    Returns:
      float [N, K]. 0 where there is no candidate.

    >>> rank_gains(jnp.array([[0.9, 0.1, 0.5]]), jnp.ones((1, 3), bool)).tolist()
    [[3.0, 1.0, 2.0]]
    """
    beaten = (utility[:, :, None] > utility[:, None, :]) & valid[:, None, :]
    return jnp.where(valid, 1.0 + jnp.sum(beaten, -1).astype(utility.dtype), 0.0)


def ndcg(gains: Array, order: Array, valid: Array) -> Array:
    """Normalised discounted gain of a ranking, `DCG / ideal DCG`.

    `DCG = sum_p gain(p) / log2(p + 1)` with positions p from 1.

    Args:
      gains: float [N, K]. Of each candidate; 0 where there is none.
      order: int [N, K]. Candidate at each position, best first; a permutation that has
        missing candidates last.
      valid: bool [N, K]. Candidates that exist.

    Returns:
      float [N], 0 to 1; 1 if all gains are 0 or there is at most one candidate.

    >>> gains, order = jnp.array([[0.5, 1.0]]), jnp.array([[1, 0]])
    >>> ndcg(gains, order, gains > 0.0).tolist()
    [1.0]
    """
    chex.assert_equal_shape([gains, order, valid])
    gains = jnp.where(valid, gains, 0.0)
    position = jnp.arange(1, gains.shape[1] + 1).astype(gains.dtype)
    discount = (1.0 / jnp.log2(position + 1.0))[None, :]
    found = jnp.sum(jnp.take_along_axis(gains, order, axis=1) * discount, axis=1)
    ideal = jnp.sum(-jnp.sort(-gains, axis=1) * discount, axis=1)
    return jnp.where((ideal == 0) | (valid.sum(1) <= 1), 1.0, safe_divide(found, ideal))


def skill_rewards(
    outcomes: Array,
    utility: Array,
    valid: Array,
    order: Array,
    *,
    gains: Callable[[Array, Array], Array] = utility_gains,
) -> SkillRewards:
    """Split one outcome: itself, how well its trend ranks, and how it beats the trend.

    `used = r`, `ranked = NDCG(order)`, `distilled = r - max utility`.

    Args:
      outcomes: float [N]. Outcome r of each episode, 0 to 1.
      utility: float [N, K]. Utility of each candidate before this batch.
      valid: bool [N, K]. Candidates that were retrieved; none are needed.
      order: int [N, K]. The policy's ranking, see `ndcg`.
      gains: `utility_gains` or `rank_gains`.

    Returns:
      The three rewards.

    Reference: Skill1, 2026, arXiv:2605.06130. Reconstruction: the gain of the NDCG.

    >>> one = jnp.ones((1, 1))
    >>> rewards = skill_rewards(one[0], one / 2, one > 0, jnp.zeros((1, 1), int))
    >>> rewards.distilled.tolist()
    [0.5]
    """
    best = jnp.where(valid, utility, -jnp.inf).max(axis=1)
    best = jnp.where(valid.any(1), best, 0.0)
    ranked = ndcg(gains(utility, valid), order, valid)
    return SkillRewards(outcomes, ranked, outcomes - best)


def updated_utility(
    utility: Array,
    candidates: Array,
    valid: Array,
    outcomes: Array,
    *,
    rate: float = 0.05,
) -> Array:
    """Move the utility of all retrieved skills to the outcomes, episode after episode.

    `U <- (1 - rate) * U + rate * r` for every candidate, chosen or not.

    Args:
      utility: float [L]. Of every skill of the library.
      candidates: int [N, K]. Skills retrieved for each episode, in order of time.
      valid: bool [N, K]. Candidates that exist.
      outcomes: float [N]. Outcome of each episode.
      rate: Of the moving average; alpha.

    Returns:
      float [L].

    Reference: Skill1, 2026, arXiv:2605.06130.

    >>> one = jnp.zeros((1, 1), int)
    >>> utility = jnp.array([0.5, 0.5])
    >>> updated_utility(utility, one, one == 0, jnp.ones(1), rate=0.5).tolist()
    [0.75, 0.5]
    """

    def episode(utility: Array, seen: tuple[Array, Array, Array]):
        ids, exists, outcome = seen
        hit = (jnp.arange(len(utility))[:, None] == ids[None, :]) & exists[None, :]
        moved = (1.0 - rate) * utility + rate * outcome
        return jnp.where(hit.any(1), moved, utility), None

    return jax.lax.scan(episode, utility, (candidates, valid, outcomes))[0]


def utility_gap(outcomes: Array, guided: Array, valid: Array) -> Array:
    """What skills are worth on each task: mean outcome with them minus without.

    Args:
      outcomes: float [P, G]. Outcome of each episode.
      guided: bool [P, G]. Episodes that had skills in their prompts.
      valid: bool [P, G]. Episodes that finished.

    Returns:
      float [P]. 0 where one kind is missing.

    Reference: SIRI, 2026, arXiv:2606.02355; known from notes.

    >>> outcomes, guided = jnp.array([[1.0, 0.0]]), jnp.array([[True, False]])
    >>> utility_gap(outcomes, guided, guided | True).tolist()
    [1.0]
    """
    chex.assert_equal_shape([outcomes, guided, valid])
    sides = (valid & guided, valid & ~guided)
    counts = [side.sum(1).astype(outcomes.dtype) for side in sides]
    means = [
        safe_divide(masked_sum(outcomes, side, axis=1), count)
        for side, count in zip(sides, counts, strict=True)
    ]
    return jnp.where((counts[0] > 0) & (counts[1] > 0), means[0] - means[1], 0.0)


def gated_weights(gate: Array) -> Array:
    """Weigh the tokens behind an open gate alike: `1 / max(number of them, 1)`.

    Args:
      gate: bool [N, T].

    Returns:
      float [N, T]. Sums to 1, or to 0 if the gate is closed everywhere.

    >>> gated_weights(jnp.array([[True, False, True]])).tolist()
    [[0.5, 0.0, 0.5]]
    """
    gate = jnp.asarray(gate, float)
    return gate / jnp.maximum(gate.sum(), 1.0)


def clipped_credit(advantages: Array, *, limit: float = 1.0) -> Array:
    """Keep good credit only, up to a limit: `clip(A, 0, limit)`.

    Args:
      advantages: float [...].
      limit: Largest credit; A_max.

    Returns:
      float [...].

    Reference: SIRI, 2026, arXiv:2606.02355. Reconstruction: the range.

    >>> clipped_credit(jnp.array([2.5, -0.3])).tolist()
    [1.0, 0.0]
    """
    return jnp.clip(advantages, 0.0, limit)


def warm_up(updates: Array, *, start: int, length: int, peak: float) -> Array:
    """Coefficient that grows linearly from 0 after `start` updates to `peak`.

    Args:
      updates: int [...]. Updates done so far.
      start: Updates after which it begins to grow.
      length: Updates that it takes.
      peak: Coefficient from then on.

    Returns:
      float [...].

    >>> warm_up(jnp.array([5, 20]), start=0, length=10, peak=0.5).tolist()
    [0.25, 0.5]
    """
    progress = jnp.asarray(updates - start, float) / length
    return peak * jnp.clip(progress, 0.0, 1.0)
