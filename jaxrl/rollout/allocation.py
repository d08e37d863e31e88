"""How many samples each prompt gets. NumPy, pure, no JAX.

A budget is shared out in proportion to priorities, within bounds, after prompts that
are hardly known have been explored. Sampled groups become ragged; their ids are
`np.repeat(np.arange(N), counts)`.

Reference: DynaMO, 2026, arXiv:2602.19208, and its official code.
Differs from the release: a prompt never gets more than `highest` (its round-robin can),
and ties between fractional parts go to the earlier prompt.
"""

import dataclasses

import numpy as np

from jaxrl.errors import UserError

LOWEST_PRIORITY = 1e-8
"""Priorities below it, those of unknown prompts among them, don't compete."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """Samples to share out, and what each prompt may get.

    Attributes:
      total: Samples to share out; limited to what the bounds allow.
      lowest: Samples that each prompt gets, if `total / n` is at least `initial`.
      highest: Samples that no prompt exceeds.
      initial: A prompt with fewer samples so far is first brought up to it.
    """

    total: int
    lowest: int
    highest: int
    initial: int = 4

    def __post_init__(self):
        if not 0 <= self.lowest <= self.highest:
            raise UserError(
                f"lowest is {self.lowest}; give 0 to highest={self.highest} samples"
            )

    def within_bounds(self, number: int) -> int:
        """The total, limited to what the bounds of `number` prompts allow.

        Args:
          number: How many prompts share it.
        """
        return int(np.clip(self.total, number * self.lowest, number * self.highest))


def priority(
    samples: np.ndarray,
    successes: np.ndarray,
    *,
    power: float = 1.0,
    mastered: float = 0.85,
    floor: float = 0.01,
    initial: int = 4,
    tie: float = 1e-6,
) -> np.ndarray:
    """How much is to be learnt from a prompt, by the variance of its outcomes.

    With `v = k (n - k) / (n (n - 1))`, the unbiased variance of n outcomes of which k
    are successes: `max(v^power + tie * (1 - k / n), floor)`; `floor` where it is
    mastered, -1 where it is unknown.

    With power 1, the release's, prompts that are sampled in proportion to it have the
    same total variance as with uniform sampling; 0.5 is optimal.

    >>> priority(np.array([8, 8, 2]), np.array([4, 8, 1])).round(3)
    array([ 0.286,  0.01 , -1.   ])

    Args:
      samples: int [n]. Rewarded samples so far.
      successes: int [n]. Those with a positive reward.
      power: 1 is the variance, 0.5 the standard deviation.
      mastered: Rate of success from which on a prompt gets `floor`.
      floor: Smallest priority of a known prompt.
      initial: Samples below which a prompt is unknown.
      tie: Prefers the harder of two prompts of equal variance.

    Returns:
      float64 [n].
    """
    n, k = np.asarray(samples, float), np.asarray(successes, float)
    rate = k / np.maximum(n, 1)
    variance = k * (n - k) / np.maximum(n * (n - 1), 1)
    known = np.maximum(variance**power + tie * (1 - rate), floor)
    return np.where(n < initial, -1.0, np.where(rate >= mastered, floor, known))


def multi_round(
    samples: np.ndarray, priorities: np.ndarray, budget: Budget
) -> np.ndarray:
    """Share out a budget in rounds, as DynaMO's release does.

    Each round shares what is left in proportion to the priorities of those below
    `highest`, rounded down, the rest to the largest fractional parts. What nobody with
    a priority can take goes round in the order of prompts.

    >>> samples, priorities = np.full(3, 32), np.array([0.25, 0.1875, 0.0625])
    >>> multi_round(samples, priorities, Budget(total=24, lowest=4, highest=24))
    array([10,  9,  5])

    Args:
      samples: int [n]. Rewarded samples of each prompt so far.
      priorities: float [n]. From `priority`.
      budget: What to share out, within which bounds.

    Returns:
      int [n]. Adds up to the budget's total.
    """
    priorities = _competing(priorities)
    total, highest = budget.within_bounds(len(priorities)), budget.highest
    counts = _explored(np.asarray(samples), total, budget)
    while (left := total - counts.sum()) > 0:
        open_ = (counts < highest) & (priorities > 0)
        if not open_.any():
            return _round_robin(counts, left, highest)
        shares = np.where(open_, priorities, 0.0)
        added = _largest_remainders(left * shares / shares.sum(), left)
        counts += np.minimum(added, highest - counts)
    return counts


def one_shot(samples: np.ndarray, priorities: np.ndarray, budget: Budget) -> np.ndarray:
    """Share out a budget by one water level: `min(highest, base + level * priority)`.

    Fairer than `multi_round`: prompts of equal priority differ by at most 1.

    >>> samples, priorities = np.full(3, 32), np.array([0.25, 0.1875, 0.0625])
    >>> one_shot(samples, priorities, Budget(total=24, lowest=4, highest=24))
    array([10,  9,  5])

    Args:
      samples: int [n]. Rewarded samples of each prompt so far.
      priorities: float [n]. From `priority`.
      budget: What to share out, within which bounds.

    Returns:
      int [n]. Adds up to the budget's total.
    """
    priorities = _competing(priorities)
    total, highest = budget.within_bounds(len(priorities)), budget.highest
    base = _explored(np.asarray(samples), total, budget)
    room = np.where(priorities > 0, highest - base, 0)
    left = min(total - base.sum(), room.sum())
    wanted = np.minimum(room, _water_level(priorities, room, left) * priorities)
    counts = base + _largest_remainders(wanted, left)
    return _round_robin(counts, total - counts.sum(), highest)


def _competing(priorities: np.ndarray) -> np.ndarray:
    priorities = np.asarray(priorities, float)
    return np.where(priorities > LOWEST_PRIORITY, priorities, 0.0)


def _explored(samples: np.ndarray, total: int, budget: Budget) -> np.ndarray:
    """Counts that unknown prompts need, and `lowest` for all, as far as they go."""
    lowest = budget.lowest
    need = np.clip(max(lowest, budget.initial) - samples, 0, budget.highest)
    if need.sum() > total:
        need = np.maximum(need * total // need.sum(), lowest)
        while need.sum() > total:
            need[np.argmax(np.where(need > lowest, need, -1))] -= 1
    missing = np.maximum(lowest - need, 0)
    left = total - need.sum()
    if missing.sum() > left:
        missing = missing * left // missing.sum()
    return need + missing


def _round_robin(counts: np.ndarray, left: int, highest: int) -> np.ndarray:
    """Hand out the rest one at a time, in order, to those below `highest`."""
    counts = counts.copy()
    while left > 0:
        takers = np.flatnonzero(counts < highest)[:left]
        counts[takers] += 1
        left -= len(takers)
    return counts


def _largest_remainders(shares: np.ndarray, total: int) -> np.ndarray:
    """Round shares down, and hand what is missing to the largest fractional parts."""
    counts = np.floor(shares).astype(int)
    order = np.argsort(counts - shares, kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts


def _water_level(priorities: np.ndarray, room: np.ndarray, total: int) -> float:
    """The level at which `sum(min(room, level * priority))` is `total`."""
    active = room > 0
    if not active.any():
        return 0.0
    full_at = room[active] / priorities[active]
    order = np.argsort(full_at)
    full_at, rates, caps = (
        x[order] for x in (full_at, priorities[active], room[active])
    )
    # Up to prompt i, in the order in which they fill up, all before it are full.
    rising = np.cumsum(rates[::-1])[::-1]
    levels = (total - (np.cumsum(caps) - caps)) / rising
    reached = np.flatnonzero(levels <= full_at * (1 + 1e-9))
    return float(levels[reached[0]])
