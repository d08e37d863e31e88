"""What a reward is compared with, beyond the plain mean of the group.

A sample that must not count is set apart: it gets a group of its own, so that no
function needs a mask for it. In a `Batch`, failed sequences are set apart already.
"""

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.advantages.groups import differs_within, leave_one_out, spread
from jaxrl.masking import safe_divide
from jaxrl.types import Array


def set_apart(group: Array, valid: Array, *, num_groups: int) -> Array:
    """Give every sample that is not valid a group of its own.

    Args:
      group: int [S]. Sequences with equal id are compared with each other.
      valid: bool [S]. False for what may influence nobody else.
      num_groups: Ids are below this number.

    Returns:
      int [S]. Ids are below `num_groups + S`.

    >>> group, valid = jnp.array([0, 0, 0]), jnp.array([True, False, True])
    >>> set_apart(group, valid, num_groups=1).tolist()
    [0, 2, 0]
    """
    chex.assert_equal_shape([group, valid])
    own = num_groups + jnp.arange(len(group), dtype=group.dtype)
    return jnp.where(valid, group, own)


def leave_one_out_valid(
    rewards: Array, group: Array, valid: Array, *, num_groups: int, min_size: int = 2
) -> Array:
    """Leave-one-out among the valid members of large enough groups (RLOO-N).

    `A = n / (n - 1) * (R - mean_g)` with `n` and the mean over the valid members alone.

    Args:
      rewards: float [S]. One per sequence; ignored where not valid.
      group: int [S]. Sequences with equal id are compared with each other.
      valid: bool [S]. False for samples without a usable reward.
      num_groups: Ids are below this number.
      min_size: Valid members below which a group gets 0.

    Returns:
      float [S]. 0 where not valid.

    Reference: Ahmadian et al., 2024, Back to Basics, section 2, arXiv:2402.14740.
    Reconstruction: leaving masked samples out and the minimum size follow the name
    "RLOO-N" of agent trainers; the paper has neither.

    >>> rewards, valid = jnp.array([1.0, 9.0, 0.0]), jnp.array([True, False, True])
    >>> leave_one_out_valid(rewards, jnp.zeros(3, int), valid, num_groups=1).tolist()
    [1.0, 0.0, -1.0]
    """
    apart = set_apart(group, valid, num_groups=num_groups)
    groups = num_groups + len(group)
    rewards = jnp.where(valid, rewards, 0.0)
    advantages = leave_one_out(rewards, apart, num_groups=groups)
    enough = segments.segment_count(apart, num_groups=groups) >= min_size
    return jnp.where(valid & enough, advantages, 0.0)


def length_weighted_centred(
    rewards: Array, lengths: Array, group: Array, *, num_groups: int
) -> Array:
    """Subtract the group's mean weighted by length: `A = R - sum(l R) / sum(l)`.

    It is the baseline of least variance if the squared gradient of a response grows
    with its length. A group of one keeps its reward; a group of equal rewards gets
    exactly 0.

    Args:
      rewards: float [S]. One per sequence.
      lengths: float [S]. Trained tokens of each sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.

    Returns:
      float [S].

    Reference: Hao et al., 2025, On-Policy RL with Optimal Reward Baseline (OPO),
    section 3, arXiv:2505.23585.

    >>> rewards, lengths = jnp.array([1.0, 0.0]), jnp.array([1.0, 3.0])
    >>> group = jnp.array([0, 0])
    >>> length_weighted_centred(rewards, lengths, group, num_groups=1).tolist()
    [0.75, -0.25]
    """
    chex.assert_equal_shape([rewards, lengths, group])
    alone = segments.segment_count(group, num_groups=num_groups) == 1
    peak = segments.segment_max(rewards, group, num_groups=num_groups)
    below, total = (
        segments.segment_sum(x, group, num_groups=num_groups)
        for x in (lengths * (rewards - peak), lengths)
    )
    mean = peak + safe_divide(below, total)
    differs = alone | differs_within(rewards, group, num_groups=num_groups)
    return jnp.where(differs, rewards - jnp.where(alone, 0.0, mean), 0.0)


def mean_normalised(rewards: Array, group: Array, *, num_groups: int) -> Array:
    """Subtract the mean of the group and divide by it: `A = (R - mean_g) / mean_g`.

    For rewards of 0 and 1, the gradient is on average that of the log-likelihood of
    success, up to the order of the group's size: rare successes count for more.

    Args:
      rewards: float [S], at least 0. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.

    Returns:
      float [S]. 0 where the mean is 0, and in a group of one.

    Reference: Tajwar et al., 2026, Maximum Likelihood Reinforcement Learning,
    arXiv:2602.02710. Reconstruction: from the paper's summary; no release was read.

    >>> rewards, group = jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.zeros(4, int)
    >>> mean_normalised(rewards, group, num_groups=1).tolist()
    [3.0, -1.0, -1.0, -1.0]
    """
    chex.assert_equal_shape([rewards, group])
    mean = segments.segment_mean(rewards, group, num_groups=num_groups)
    differs = differs_within(rewards, group, num_groups=num_groups)
    return jnp.where(differs, safe_divide(rewards - mean, mean), 0.0)


def best_of_group(rewards: Array, group: Array, *, num_groups: int) -> Array:
    """Credit the best of the group alone: `A = R_best - R_second`, all others 0.

    An unbiased credit for the best of n: without the best, the second would have
    counted. A tie at the top gives everybody 0.

    Args:
      rewards: float [S]. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.

    Returns:
      float [S], at least 0. A group of one gets 0: it has no second.

    Reference: Tang et al., 2025, Optimizing Language Models for Inference Time
    Objectives using Reinforcement Learning, section 3, arXiv:2503.19595.

    >>> rewards, group = jnp.array([3.0, 1.0, 2.0]), jnp.zeros(3, int)
    >>> best_of_group(rewards, group, num_groups=1).tolist()
    [1.0, 0.0, 0.0]
    """
    chex.assert_equal_shape([rewards, group])
    best = rewards == segments.segment_max(rewards, group, num_groups=num_groups)
    ties = segments.segment_sum(
        best.astype(rewards.dtype), group, num_groups=num_groups
    )
    others = jnp.where(best, -jnp.inf, rewards)
    second = segments.segment_max(others, group, num_groups=num_groups)
    credited = best & (ties == 1) & jnp.isfinite(second)
    return jnp.where(credited, rewards - jnp.where(credited, second, 0.0), 0.0)


def pass_at_k(solved: Array, group: Array, *, num_groups: int, k: int = 4) -> Array:
    """Credit for Pass@k, averaged over all subsets of k samples of a group.

    With n members of which f failed, `p = 1 - C(f, k) / C(n, k)` is the mean of the
    best of k and `s = sqrt(p (1 - p))` its deviation. A solved sample gets
    `(1 - p) / s`; a failed one `(1 - p - C(f - 1, k - 1) / C(n - 1, k - 1)) / s`.

    Args:
      solved: bool [S]. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.
      k: Samples of which one must be solved; 1 is GRPO on a reward of 0 and 1.

    Returns:
      float [S]. 0 where all subsets fare alike, and in groups smaller than k.

    Reference: Chen et al., 2025, Pass@k Training for Adaptively Balancing Exploration
    and Exploitation of Large Reasoning Models, section 2.4, arXiv:2508.10751.

    >>> solved, group = jnp.array([True, False]), jnp.zeros(2, int)
    >>> pass_at_k(solved, group, num_groups=1, k=1).tolist()
    [1.0, -1.0]
    """
    chex.assert_equal_shape([solved, group])
    count = jnp.asarray(segments.segment_count(group, num_groups=num_groups), float)
    failed = segments.segment_sum(
        jnp.asarray(~solved, float), group, num_groups=num_groups
    )
    all_fail = _share_of_subsets(failed, count, k)
    others_fail = _share_of_subsets(failed - 1.0, count - 1.0, k - 1)
    deviation = jnp.sqrt(all_fail * (1.0 - all_fail))
    credit = all_fail - jnp.where(solved, 0.0, others_fail)
    return jnp.where(count >= k, safe_divide(credit, deviation), 0.0)


def _share_of_subsets(part: Array, whole: Array, k: int) -> Array:
    """`C(part, k) / C(whole, k)` for `part <= whole`; 0 where `whole` has too few."""
    share = jnp.ones_like(part)
    for i in range(k):
        share *= safe_divide(jnp.maximum(part - i, 0.0), jnp.maximum(whole - i, 0.0))
    return share


def against_greedy(
    returns: Array, greedy: Array, sequence: Array, mask: Array
) -> Array:
    """Subtract the reward of the greedy response to the same prompt (ReMax).

    Args:
      returns: float [N, T]. What follows each token, as from `discounted_returns`.
      greedy: float [S]. Reward of the greedy response to the sequence's prompt.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.

    Returns:
      float [N, T]. 0 outside of the mask.

    Reference: Li et al., 2024, ReMax, equation 4, arXiv:2310.10505.

    >>> x, one = jnp.array([[3.0, 2.0]]), jnp.zeros((1, 2), int)
    >>> against_greedy(x, jnp.array([1.0]), one, one == 0).tolist()
    [[2.0, 1.0]]
    """
    chex.assert_equal_shape([returns, sequence, mask])
    return jnp.where(mask, returns, 0.0) - spread(greedy, sequence, mask)
