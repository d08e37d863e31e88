"""Credit that remembers what a prompt earned before."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.advantages.groups import group_centred
from jaxrl.masking import safe_divide
from jaxrl.types import Array


class History(NamedTuple):
    """What is known of a prompt's rewards, given to each of its sequences.

    Attributes:
      times: int [S]. How often the prompt was sampled before; 0 for never.
      mean: float [S]. Mean reward over those times.
      std: float [S]. Deviation over those times.
    """

    times: Array
    mean: Array
    std: Array


def updated(
    history: History, rewards: Array, group: Array, *, num_groups: int
) -> History:
    """Add a group's rewards to what is known of its prompt.

    Times weigh alike. With t times before, mean M and variance V, the next ones are
    `(t M + m) / (t + 1)` and `(t V + v + t (M - m)^2 / (t + 1)) / (t + 1)`.

    Args:
      history: What is known so far.
      rewards: float [S]. One per sequence.
      group: int [S]. Sequences with equal id are of the same prompt.
      num_groups: Ids are below this number.

    Returns:
      The history with one more time.

    Reference: Yang et al., 2025, DCPO, arXiv:2509.02333.

    >>> zero, group = jnp.zeros(2), jnp.array([0, 0])
    >>> old = History(jnp.ones(2, int), zero, zero)
    >>> updated(old, zero + 2.0, group, num_groups=1).mean.tolist()
    [1.0, 1.0]
    """
    chex.assert_equal_shape([rewards, group, *history])
    times = history.times.astype(rewards.dtype)
    mean = segments.segment_mean(rewards, group, num_groups=num_groups)
    std = segments.segment_std(rewards, group, num_groups=num_groups)
    total = times + 1.0
    shift = times / total * (mean - history.mean) ** 2
    variance = (times * history.std**2 + std**2 + shift) / total
    return History(
        history.times + 1, (times * history.mean + mean) / total, jnp.sqrt(variance)
    )


def smoothed_advantage(
    history: History,
    rewards: Array,
    group: Array,
    *,
    num_groups: int,
    scale: bool = True,
) -> Array:
    """Standardise rewards by the group and by all times, and take the calmer mixture.

    With `z` by the group and `z'` by the updated history, both mixtures of weights
    `1 / (t + 1)` and `t / (t + 1)` are made; the one closer to 0 is the advantage.

    Args:
      history: What is known of the prompts before this time.
      rewards: float [S]. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.
      scale: Divide by the deviations; otherwise rewards are only centred.

    Returns:
      float [S]. 0 where a deviation is 0 and `scale` is set.

    Reference: Yang et al., 2025, DCPO, smooth advantage standardisation,
    arXiv:2509.02333.

    >>> zero, group = jnp.zeros(2), jnp.array([0, 0])
    >>> new = History(jnp.zeros(2, int), zero, zero)
    >>> rewards = jnp.array([1.0, 0.0])
    >>> smoothed_advantage(new, rewards, group, num_groups=1, scale=False).tolist()
    [0.5, -0.5]
    """
    total = updated(history, rewards, group, num_groups=num_groups)
    own = group_centred(rewards, group, num_groups=num_groups)
    pooled = rewards - total.mean
    if scale:
        std = segments.segment_std(rewards, group, num_groups=num_groups)
        own, pooled = safe_divide(own, std), safe_divide(pooled, total.std)
    share = 1.0 / total.times.astype(rewards.dtype)
    newer = share * pooled + (1.0 - share) * own
    older = share * own + (1.0 - share) * pooled
    return jnp.where(jnp.abs(newer) < jnp.abs(older), newer, older)
