"""Rewards that depend on the length of the response. NumPy, no JAX."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from jaxrl.errors import UserError
from jaxrl.rollout.types import Episode, Trace


def overlong(
    lengths: np.ndarray, *, limit: int, buffer: int, scale: float = 1.0
) -> np.ndarray:
    """Soft penalty on long responses: 0, then falling linearly, then -scale.

    penalty = scale * clip((limit - buffer - length) / buffer, -1, 0)

    >>> overlong(np.array([16384, 17408, 20480]), limit=20480, buffer=4096)
    array([ 0.  , -0.25, -1.  ])

    Args:
      lengths: int [n]. Response lengths, tokens.
      limit: Length from which on the penalty is full, tokens.
      buffer: Tokens before `limit` over which it grows.
      scale: Of the full penalty.

    Returns:
      float64 [n] in [-scale, 0], to be added to the rewards.

    References:
      Yu et al. (2025), DAPO, equation 13, arXiv:2503.14476.
    """
    if not 0 < buffer <= limit:
        raise UserError(f"buffer is {buffer}; give 1 to limit={limit} tokens")
    return scale * np.clip((limit - buffer - np.asarray(lengths)) / buffer, -1.0, 0.0)


def shape_rewards(
    episodes: Iterable[Episode],
    penalty: Callable[[np.ndarray], np.ndarray],
    *,
    channel: int = 0,
) -> list[Episode]:
    """Add a function of the number of sampled tokens to the rewards.

    Args:
      episodes: Failed traces stay as they are.
      penalty: int lengths [n] to float [n]; `overlong` with its limits, for instance.
      channel: Column of the rewards to which it is added.
    """
    return [
        dataclasses.replace(
            episode,
            traces=tuple(_shaped(trace, penalty, channel) for trace in episode.traces),
        )
        for episode in episodes
    ]


def _shaped(
    trace: Trace, penalty: Callable[[np.ndarray], np.ndarray], channel: int
) -> Trace:
    if trace.failure is not None:
        return trace
    length = sum(len(turn.completion.tokens) for turn in trace.turns)
    rewards = list(trace.rewards)
    rewards[channel] += float(penalty(np.array([length]))[0])
    return dataclasses.replace(trace, rewards=tuple(rewards))
