"""Episodes of several turns to a batch, with what step-level credit reads."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxrl.rollout.anchors import step_returns
from jaxrl.rollout.batching import Packed, Rows
from jaxrl.rollout.environment import Environment
from jaxrl.rollout.sequences import TokenSequence, trace_sequences
from jaxrl.rollout.turns import turns_as_channels
from jaxrl.rollout.types import Episode, Trace
from jaxrl.types import Batch, Steps


def agent_batch(
    episodes: Iterable[Episode], *, layout: Rows | Packed, part: Environment
) -> Batch:
    """Turn episodes into arrays for the device; see `batching.to_batch`.

    Args:
      episodes: Any number of them, in any order.
      layout: Where the sequences go; keeps their order.
      part: Which turns share a sequence, and what their rewards are for.

    Returns:
      A batch of NumPy arrays with `steps`.
    """
    owned = [
        (trace, episode.group)
        for episode in episodes
        for trace in episode.traces
        if trace.trainable
    ]
    sequences: list[TokenSequence] = []
    owners: list[int] = []
    for place, (trace, group) in enumerate(owned):
        if part.turns_as_channels:
            trace = turns_as_channels(trace, turns=part.max_turns)
        found = trace_sequences(trace, group=group, apart=part.turns_apart)
        sequences += found
        owners += [place] * len(found)
    batch = layout.arrange(sequences, part.channels)
    size, turns = len(batch.group), 1 if part.turns_apart else part.max_turns
    anchor, returns = _steps(owned, part)
    steps: Any = np.full((size, turns), -1, np.int32), np.zeros((size, turns))
    path: Any = np.arange(size, dtype=np.int32)
    for index, (sequence, owner) in enumerate(zip(sequences, owners, strict=True)):
        path[index] = owners.index(owner)
        for turn in np.unique(sequence.turn[sequence.mask]):
            column = 0 if part.turns_apart else turn
            steps[0][index, column] = anchor[owner][turn]
            steps[1][index, column] = returns[owner][turn]
    shape = (size,) if part.turns_apart else (size, turns)
    found_steps: Any = Steps(
        steps[0].reshape(shape), steps[1].reshape(shape).astype(np.float32), path
    )
    return dataclasses.replace(batch, steps=found_steps)


def _steps(
    owned: Sequence[tuple[Trace, int]], part: Environment
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Anchors and returns of the turns of each trace.

    States are compared among the traces of one agent in the episodes of one group.
    """
    pools = {key: n for n, key in enumerate(dict.fromkeys(map(_pool, owned)))}
    flat = [
        (place, pools[_pool(one)], turn)
        for place, one in enumerate(owned)
        for turn in one[0].turns
    ]
    seen = [t.prompt if t.anchor is None else t.anchor for _, _, t in flat]
    anchors = part.alike(seen, [pool for _, pool, _ in flat])
    places = [place for place, _, _ in flat]
    returns = step_returns(
        [turn.reward for _, _, turn in flat],
        places,
        discount=part.discount,
        penalties=[turn.penalty for _, _, turn in flat],
    )
    ends = np.cumsum([len(trace.turns) for trace, _ in owned])[:-1]
    return np.split(anchors, ends), np.split(returns, ends)


def _pool(owned: tuple[Trace, int]) -> tuple[int, str]:
    return owned[1], owned[0].agent
