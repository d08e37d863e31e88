"""Credit of environment steps: episodes against episodes, states against equal states.

Arrays are flat, one entry per step. In the step layout an entry is a sequence; in the
concatenated layout it is one turn of a sequence, see `jaxrl.advantages.turns`.
"""

import chex
import jax
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.advantages.zscore import Normaliser, moments, zscore
from jaxrl.masking import safe_divide
from jaxrl.types import Array, Steps

NEGLIGIBLE = 1e-7
"""Credits below this count as none when levels are averaged."""


def joint(first: Array, second: Array) -> Array:
    """Number the pairs of two ids, without gaps.

    Args:
      first: int [E].
      second: int [E].

    Returns:
      int [E]. Equal where both ids are; below E.

    >>> joint(jnp.array([7, 7, 3]), jnp.array([1, 2, 1])).tolist()
    [1, 2, 0]
    """
    chex.assert_equal_shape([first, second])
    order = jnp.lexsort((second, first))
    first, second = first[order], second[order]
    new = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    rank = jnp.concatenate([jnp.zeros_like(order[:1]), jnp.cumsum(new)])
    return jnp.zeros_like(order).at[order].set(rank)


def first_of(trajectory: Array) -> Array:
    """Mark the first entry of each trajectory.

    Args:
      trajectory: int [E]. Trajectory of each entry; ids are below E.

    Returns:
      bool [E]. True once per trajectory.

    >>> first_of(jnp.array([1, 0, 1])).tolist()
    [True, True, False]
    """
    index = jnp.arange(len(trajectory))
    return jax.ops.segment_min(index, trajectory, len(trajectory))[trajectory] == index


def trajectory_zscore(rewards: Array, group: Array, trajectory: Array) -> Array:
    """Normalise one reward per trajectory and give it to all its entries.

    Args:
      rewards: float [E]. Equal within a trajectory.
      group: int [E]. Task of each entry; ids are below E.
      trajectory: int [E]. Trajectory of each entry; ids are below E.

    Returns:
      float [E]. Statistics count each trajectory once.

    >>> rewards, trajectory = jnp.array([1.0, 1.0, 3.0]), jnp.array([0, 0, 1])
    >>> trajectory_zscore(rewards, 0 * trajectory, trajectory).round(3).tolist()
    [-1.0, -1.0, 1.0]
    """
    path, size = joint(group, trajectory), len(rewards)
    z = zscore(rewards, first_of(path), group, num_pools=size)
    return segments.segment_sum(z, path, num_groups=size)


def episode_credit(
    rewards: Array,
    counted: Array,
    group: Array,
    *,
    num_groups: int,
    scaled: bool = True,
    eps: float = 1e-6,
) -> Array:
    """Compare episodes within a group: `(R - mean) / (std + eps)`, or `R - mean`.

    Where every step is counted, long episodes count more; where the first step of each
    trajectory is (`first_of`), all episodes count alike. A group with one counted entry
    keeps its reward, equal rewards get exactly 0.

    Args:
      rewards: float [E]. Return of the whole episode, at each of its steps.
      counted: bool [E]. Entries that enter the statistics; all of them get credit.
      group: int [E]. Task of each entry.
      num_groups: Ids are below this number.
      scaled: Divide by the unbiased deviation.
      eps: Added to the deviation.

    Returns:
      float [E].

    Reference: Feng et al., 2025, Group-in-Group Policy Optimization (GiGPO),
    equation 3, arXiv:2505.10978; its release counts every step.

    >>> rewards, group = jnp.array([1.0, 0.0]), jnp.zeros(2, int)
    >>> episode_credit(rewards, group == 0, group, num_groups=1, scaled=False).tolist()
    [0.5, -0.5]
    """
    count, mean, std = moments(rewards, counted, group, num_pools=num_groups, ddof=1)
    alone = count == 1
    distance = rewards - jnp.where(alone, 0.0, mean)
    if not scaled:
        return distance
    std = jnp.where(alone, 1.0, std)
    return jnp.where(std > 0, safe_divide(distance, std + eps), 0.0)


def step_credit(
    returns: Array,
    counted: Array,
    anchor: Array,
    group: Array,
    *,
    scaled: bool = True,
    eps: float = 1e-6,
) -> Array:
    """Compare what followed from the same state: returns normalised per anchor.

    A state that was seen once gives 0.

    Args:
      returns: float [E]. Discounted return from this step on.
      counted: bool [E]. False where there is no step.
      anchor: int [E]. Equal where the environment was in the same state.
      group: int [E]. Task of each entry; only steps of one task are compared.
      scaled: Divide by the unbiased deviation.
      eps: Added to the deviation.

    Returns:
      float [E]. 0 where not counted.

    Reference: Feng et al., 2025, Group-in-Group Policy Optimization (GiGPO),
    equation 7, arXiv:2505.10978.

    >>> returns, anchor = jnp.array([1.0, 0.0, 5.0]), jnp.array([0, 0, 1])
    >>> step_credit(returns, anchor >= 0, anchor, 0 * anchor, scaled=False).tolist()
    [0.5, -0.5, 0.0]
    """
    count, mean, std = moments(
        returns, counted, joint(group, anchor), num_pools=len(returns), ddof=1
    )
    distance = jnp.where(counted & (count > 1) & (std > 0), returns - mean, 0.0)
    return safe_divide(distance, std + eps) if scaled else distance


def step_advantages(
    rewards: Array,
    steps: Steps,
    group: Array,
    *,
    step_weight: float = 1.0,
    scaled: bool = True,
    episodes_alike: bool = False,
) -> Array:
    """Credit of an episode plus that of a step: `A = A_episode + omega * A_step`.

    Args:
      rewards: float [S]. Return of the episode that each sequence belongs to.
      steps: Arrays [S] where a sequence is a step, [S, K] where it holds K of them.
      group: int [S]. Task of each sequence; ids are below S.
      step_weight: Weight of the step credit; omega.
      scaled: Divide by deviations; the release's `mean_std_norm`, else `mean_norm`.
      episodes_alike: Statistics count each trajectory once, not each of its steps.

    Returns:
      float, in the shape of `steps.anchor`; 0 on missing turns.

    Reference: Feng et al., 2025, Group-in-Group Policy Optimization (GiGPO),
    equations 3 to 8, arXiv:2505.10978. Differs from the paper, as the release does: by
    default long episodes count more.

    >>> steps = Steps(anchor=jnp.array([0, 0]), returns=jnp.array([2.0, 0.0]))
    >>> rewards, group = jnp.array([1.0, 0.0]), jnp.zeros(2, int)
    >>> step_advantages(rewards, steps, group, scaled=False).tolist()
    [1.5, -1.5]
    """
    chex.assert_equal_shape([rewards, group])
    chex.assert_equal_shape([steps.anchor, steps.returns])
    anchor, returns = steps.anchor.reshape(-1), steps.returns.reshape(-1)
    turns, size = len(anchor) // len(group), len(anchor)
    path = jnp.arange(len(group)) if steps.trajectory is None else steps.trajectory
    rewards, group, path = (jnp.repeat(x, turns) for x in (rewards, group, path))
    valid = anchor >= 0
    counted = valid & first_of(joint(group, path)) if episodes_alike else valid
    episode = episode_credit(rewards, counted, group, num_groups=size, scaled=scaled)
    step = step_credit(returns, valid, anchor, group, scaled=scaled)
    credit = jnp.where(valid, episode + step_weight * step, 0.0)
    return credit.reshape(steps.anchor.shape)


def context_credit(
    returns: Array,
    contexts: Array,
    group: Array,
    *,
    normalise: Normaliser = zscore,
    power: float = 1.0,
    base: Array | None = None,
    eps: float = 1e-6,
) -> Array:
    """Average step credit over contexts of growing length, longer ones weighing more.

    Level k compares the steps whose last k observations coincide and weighs
    `(k + 1) ** power`. Levels that don't tell a step from the others (credit 0) carry
    no weight.

    Args:
      returns: float [E]. Discounted return from this step on.
      contexts: int [E, H]. Column k - 1 numbers the last k observations; -1 where there
        are fewer. See `jaxrl.rollout.anchors.context_ids`.
      group: int [E]. Task of each entry.
      normalise: Within contexts; `zscore` or `centre`.
      power: Exponent of the weights; alpha.
      base: float [E]. Credit of the episode, as level 0; None leaves it out.
      eps: Added to the sum of the weights.

    Returns:
      float [E].

    Reference: HGPO (history-grouped GiGPO), `recipe/hgpo` of the verl-agent release.

    >>> returns, contexts = jnp.array([1.0, 0.0]), jnp.zeros((2, 1), int)
    >>> credit = context_credit(returns, contexts, contexts[:, 0], eps=0.0)
    >>> credit.round(3).tolist()
    [1.0, -1.0]
    """
    levels = [] if base is None else [(1.0, base)]
    for k in range(1, contexts.shape[1] + 1):
        ids = contexts[:, k - 1]
        credit = normalise(returns, ids >= 0, joint(group, ids), num_pools=len(returns))
        levels.append(((k + 1.0) ** power, credit))
    total, weight = jnp.zeros_like(returns), jnp.zeros_like(returns)
    for factor, credit in levels:
        tells = jnp.abs(credit) >= NEGLIGIBLE
        total += jnp.where(tells, factor * credit, 0.0)
        weight += jnp.where(tells, factor, 0.0)
    return safe_divide(total, weight + eps)
