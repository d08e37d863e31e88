"""Which groups are worth training on. NumPy, no JAX."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from jaxrl.rollout.types import Episode


def informative(rewards: np.ndarray) -> bool:
    """Whether the rewards of a group differ, so that its advantages are not all zero.

    A group of one is kept: its reward is not compared within the group. One without any
    reward, because all failed, is not.

    >>> informative(np.array([1.0, 0.0, 1.0])), informative(np.array([1.0, 1.0]))
    (True, False)

    Args:
      rewards: float [G]. Of one prompt's samples.

    References:
      Yu et al. (2025), DAPO, section 3.2 "Dynamic sampling", arXiv:2503.14476.
    """
    return len(rewards) == 1 or bool(len(rewards) and np.ptp(rewards) > 1e-6)


def filter_groups(
    episodes: Iterable[Episode],
    keep: Callable[[np.ndarray], bool],
    *,
    channel: int = 0,
) -> tuple[list[Episode], int]:
    """Make the traces of the groups that are not to be kept untrainable.

    As at the door, a group is made of the traces of one agent in the episodes with one
    group id. Failed traces have no say in it.

    Args:
      episodes: Complete groups.
      keep: Rewards float [G] of a group to whether it is trained on.
      channel: Column of the rewards that `keep` sees.

    Returns:
      The episodes in their order, and the number of groups that were not kept.
    """
    episodes = list(episodes)
    rewards: dict[tuple[int, str], list[float]] = {}
    for episode in episodes:
        for trace in episode.traces:
            if not trace.trainable:
                continue
            group = rewards.setdefault((episode.group, trace.agent), [])
            if trace.failure is None:
                group.append(trace.rewards[channel])
    dropped = {key for key, group in rewards.items() if not keep(np.array(group))}
    return [_without(episode, dropped) for episode in episodes], len(dropped)


def _without(episode: Episode, dropped: set[tuple[int, str]]) -> Episode:
    traces = tuple(
        dataclasses.replace(trace, trainable=False)
        if (episode.group, trace.agent) in dropped
        else trace
        for trace in episode.traces
    )
    return dataclasses.replace(episode, traces=traces)
