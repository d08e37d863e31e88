"""From one number per sequence, or from none, to the credit of tokens."""

from typing import Protocol

import jax.numpy as jnp

from jaxrl.advantages.groups import group_normalised, spread
from jaxrl.types import Array, Batch, Credit


class Comparison(Protocol):
    """How the sequences of a group are compared, from `jaxrl.advantages`."""

    def __call__(self, rewards: Array, group: Array, /, *, num_groups: int) -> Array:
        """Return `[S]` advantages for `[S]` rewards."""
        ...


def group_credit(
    batch: Batch, weights: Array, *, compare: Comparison = group_normalised
) -> Credit:
    """Rewards compared within groups, as in GRPO by default, with the given weights.

    Args:
      batch: The data; its reward channels are added up.
      weights: float [N, T]. From `jaxrl.weights`.
      compare: `group_normalised`, `group_centred`, `leave_one_out`, ...

    Returns:
      The credit.
    """
    rewards, number = batch.rewards.sum(-1), len(batch.group)
    return sequence_credit(
        batch, compare(rewards, batch.group, num_groups=number), weights
    )


def sequence_credit(batch: Batch, advantages: Array, weights: Array) -> Credit:
    """Every trained token gets the advantage of its sequence.

    Args:
      batch: The data.
      advantages: float [S]. One per sequence.
      weights: float [N, T]. From `jaxrl.weights`.

    Returns:
      The credit.
    """
    return Credit(spread(advantages, batch.sequence, batch.mask), weights)


def no_credit(weights: Array) -> Credit:
    """Weights alone, for a loss that no advantage multiplies.

    Args:
      weights: float [N, T]. From `jaxrl.weights`.

    Returns:
      Credit whose advantages are 0.
    """
    return Credit(jnp.zeros_like(weights), weights)
