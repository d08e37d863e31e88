"""Compare rewards with those of earlier batches of the same prompt (DCPO)."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.masking import safe_divide
from jaxrl.types import Array


class History(NamedTuple):
    """What is known of the rewards of each sequence's prompt.

    Attributes:
      times: float [S]. Batches that it is made of.
      mean: float [S].
      std: float [S].
    """

    times: Array
    mean: Array
    std: Array


def group_history(rewards: Array, group: Array, *, num_groups: int) -> History:
    """Mean and deviation of this batch alone; 1 time.

    Args:
      rewards: float [S]. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.

    Returns:
      [S] each, equal within a group; deviations are unbiased.

    >>> rewards, group = jnp.array([1.0, 3.0]), jnp.array([0, 0])
    >>> group_history(rewards, group, num_groups=1).mean.tolist()
    [2.0, 2.0]
    """
    return History(
        jnp.ones_like(rewards),
        segments.segment_mean(rewards, group, num_groups=num_groups),
        segments.segment_std(rewards, group, num_groups=num_groups),
    )


def pooled(now: History, before: History) -> History:
    """Add a batch to the history of its prompt.

    With t earlier batches, `mean = (t m0 + m1) / (t + 1)` and
    `std^2 = (t s0^2 + s1^2 + t / (t + 1) * (m1 - m0)^2) / (t + 1)`.

    Args:
      now: Of this batch, from `group_history`.
      before: Of earlier batches; ignored where `times` is 0.

    Returns:
      [S] each.

    Reference: Yang et al., 2025, DCPO: Dynamic Clipping Policy Optimization, section
    3.2, arXiv:2509.02333; the official code.

    >>> one = jnp.ones(1)
    >>> pooled(History(one, 2 * one, one), History(one, 0 * one, one)).mean.tolist()
    [1.0]
    """
    chex.assert_equal_shape([*now, *before])
    t = before.times
    mean0, std0 = (jnp.where(t > 0, x, 0.0) for x in (before.mean, before.std))
    mean = (t * mean0 + now.mean) / (t + 1.0)
    apart = t / (t + 1.0) * (now.mean - mean0) ** 2
    variance = (t * std0**2 + now.std**2 + apart) / (t + 1.0)
    return History(t + 1.0, mean, jnp.sqrt(variance))


def standard_score(rewards: Array, history: History) -> Array:
    """`(R - mean) / std`, with 0 where the deviation is 0.

    Args:
      rewards: float [S]. One per sequence.
      history: What they are compared with.

    Returns:
      float [S].

    >>> one = jnp.ones(1)
    >>> standard_score(3 * one, History(one, one, 4 * one)).tolist()
    [0.5]
    """
    return safe_divide(rewards - history.mean, history.std)


def smoothed(now: Array, total: Array, times: Array) -> Array:
    """Mix the scores of this batch and of all batches; take the more cautious mix.

    With `s = 1 / times`: `s * total + (1 - s) * now` and `s * now + (1 - s) * total`;
    the one of smaller size, the second if they are equal.

    Args:
      now: float [S]. Score of each sequence within this batch.
      total: float [S]. Score within the history, this batch included.
      times: float [S]. Batches in the history, at least 1.

    Returns:
      float [S].

    Reference: Yang et al., 2025, DCPO: Dynamic Clipping Policy Optimization, section
    3.2, arXiv:2509.02333; the official code.

    >>> one = jnp.ones(1)
    >>> smoothed(one, 3 * one, 4 * one).tolist()
    [1.5]
    """
    chex.assert_equal_shape([now, total, times])
    share = safe_divide(jnp.ones_like(times), times)
    mostly_now = share * total + (1.0 - share) * now
    mostly_total = share * now + (1.0 - share) * total
    cautious = jnp.abs(mostly_now) < jnp.abs(mostly_total)
    return jnp.where(cautious, mostly_now, mostly_total)
