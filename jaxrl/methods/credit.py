"""The credit that most token-level methods share."""

from jaxrl.advantages.groups import group_normalised, spread
from jaxrl.types import Array, Batch, Credit


def group_credit(batch: Batch, weights: Array) -> Credit:
    """Rewards normalised within groups, as in GRPO, with the given weights.

    Args:
      batch: The data; its reward channels are added up.
      weights: float [N, T]. From `jaxrl.weights`.

    Returns:
      The credit.
    """
    advantages = group_normalised(
        batch.rewards.sum(-1), batch.group, num_groups=len(batch.group)
    )
    return Credit(spread(advantages, batch.sequence, batch.mask), weights)
