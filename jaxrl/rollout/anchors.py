"""Which environment steps saw the same state, and what followed from them. NumPy.

One entry per step, steps of a trajectory in order of time; trajectories may interleave.
"""

import difflib
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np


def fingerprint(observation: Any) -> Hashable:
    """A hashable value that is equal for equal observations.

    Args:
      observation: Anything made of dictionaries, sequences, NumPy arrays and hashable
        values. Without history and instructions: only what the environment showed.

    >>> fingerprint({"a": [1, 2]}) == fingerprint({"a": (1, 2)})
    True
    """
    if isinstance(observation, np.ndarray):
        return (observation.shape, observation.dtype.str, observation.tobytes())
    if isinstance(observation, dict):
        items = ((key, fingerprint(value)) for key, value in observation.items())
        return frozenset(items)
    if isinstance(observation, (list, tuple)):
        return tuple(fingerprint(value) for value in observation)
    return observation


def anchor_ids(observations: Sequence[Any], group: Sequence[int]) -> np.ndarray:
    """Number the states: equal for equal observations within a task.

    Args:
      observations: What the policy saw at each step, see `fingerprint`.
      group: Task of each step.

    Returns:
      int32 [E], from 0 in order of appearance.

    >>> anchor_ids(["door", "hall", "door"], [0, 0, 0]).tolist()
    [0, 1, 0]
    """
    keys = [
        (task, fingerprint(observation))
        for task, observation in zip(group, observations, strict=True)
    ]
    ids = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([ids[key] for key in keys], np.int32)


def text_similarity(first: str, second: str) -> float:
    """Share of matching characters, 0 to 1, by `difflib`.

    >>> text_similarity("abcd", "abcx")
    0.75
    """
    return difflib.SequenceMatcher(None, first, second).ratio()


def similar_anchor_ids(
    observations: Sequence[str],
    group: Sequence[int],
    *,
    threshold: float = 0.95,
    similarity: Callable[[str, str], float] = text_similarity,
) -> np.ndarray:
    """Number the states: a step joins the first cluster whose founder is similar.

    Args:
      observations: What the policy saw at each step.
      group: Task of each step.
      threshold: Smallest similarity to the first member of a cluster.
      similarity: `(founder, observation) -> 0 to 1`.

    Returns:
      int32 [E], from 0 in order of appearance.

    >>> similar_anchor_ids(["go 1", "go 2", "x"], [0, 0, 0], threshold=0.7).tolist()
    [0, 0, 1]
    """
    founders: dict[int, list[tuple[int, str]]] = {}
    ids, number = [], 0
    for task, text in zip(group, observations, strict=True):
        known = founders.setdefault(task, [])
        near = (i for i, founder in known if similarity(founder, text) >= threshold)
        own = next(near, number)
        if own == number:
            known.append((number, text))
            number += 1
        ids.append(own)
    return np.array(ids, np.int32)


def context_ids(
    anchor: Sequence[int], trajectory: Sequence[int], *, depth: int
) -> np.ndarray:
    """Number the last 1, 2, ... `depth` states of each step's own trajectory.

    Args:
      anchor: State of each step, from `anchor_ids`.
      trajectory: Trajectory of each step.
      depth: Longest context H, steps.

    Returns:
      int32 [E, depth]. Column k - 1 is equal where the last k states are; -1 where the
      trajectory has fewer.

    >>> context_ids([0, 1, 0, 1], [0, 0, 1, 1], depth=2).tolist()
    [[0, -1], [1, 0], [0, -1], [1, 0]]
    """
    history: dict[int, tuple[int, ...]] = {}
    numbers: list[dict[tuple[int, ...], int]] = [{} for _ in range(depth)]
    ids = np.full((len(anchor), depth), -1, np.int32)
    for step, (state, own) in enumerate(zip(anchor, trajectory, strict=True)):
        past = history[own] = (*history.get(own, ()), int(state))[-depth:]
        for k in range(1, len(past) + 1):
            known = numbers[k - 1]
            ids[step, k - 1] = known.setdefault(past[-k:], len(known))
    return ids


def step_returns(
    rewards: Any,
    trajectory: Sequence[int],
    *,
    discount: float = 0.95,
    penalties: Any = 0.0,
) -> np.ndarray:
    """Discounted sum of what follows in the trajectory, minus the step's own penalty.

    Args:
      rewards: float [E]. Reward of each step.
      trajectory: Trajectory of each step.
      discount: Factor per step; gamma.
      penalties: float [E] or a number. Not discounted, not seen by earlier steps; the
        GiGPO release takes 0.1 for an invalid action, also from the episode's return.

    Returns:
      float64 [E].

    >>> step_returns([0.0, 10.0], [0, 0], discount=0.95).tolist()
    [9.5, 10.0]
    """
    later: dict[int, float] = {}
    returns = np.zeros(len(trajectory))
    for step in reversed(range(len(trajectory))):
        own = trajectory[step]
        later[own] = float(rewards[step]) + discount * later.get(own, 0.0)
        returns[step] = later[own]
    return returns - np.asarray(penalties, float)
