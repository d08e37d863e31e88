"""One normaliser for all tracks: distance from the mean of a pool, in deviations.

A pool is any set of entries that are compared with each other: the sequences of a
group, the steps that saw the same state, the same turn of all episodes of a task.
"""

from typing import NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp

from jaxrl.masking import safe_divide
from jaxrl.types import Array

NEARLY_EQUAL = 1e-6
"""Pools that differ by less, relative to their maximum or to 1, count as equal."""


class Moments(NamedTuple):
    """Statistics of a pool, given to every entry of it; float [E] each.

    Attributes:
      number: Counted entries.
      mean: 0 where none is counted.
      std: Exactly 0 where all counted entries are equal.
    """

    number: Array
    mean: Array
    std: Array


class Normaliser(Protocol):
    """What can stand in for `zscore`."""

    def __call__(
        self, x: Array, counted: Array, pool: Array, *, num_pools: int
    ) -> Array:
        """Normalise `x` within pools."""
        ...


def moments(
    x: Array, counted: Array, pool: Array, *, num_pools: int, ddof: int = 0
) -> Moments:
    """Count, mean and deviation of the counted entries of each pool.

    Args:
      x: float [E]. Finite where counted.
      counted: bool [E]. Entries that enter the statistics.
      pool: int [E]. Pool of each entry, in any order.
      num_pools: Ids are below this number.
      ddof: 1 divides the variance by n - 1, 0 by n.

    Returns:
      Statistics of its pool for every entry, counted or not.

    >>> x, pool = jnp.array([1.0, 3.0, 9.0]), jnp.zeros(3, int)
    >>> float(moments(x, x < 9.0, pool, num_pools=1).mean[2])
    2.0
    """
    chex.assert_equal_shape([x, counted, pool])
    total = jax.ops.segment_sum

    def summed(values: Array) -> Array:
        return total(jnp.where(counted, values, 0.0), pool, num_pools)

    count = summed(jnp.ones_like(x))
    # Three times 0.1 over 3 isn't 0.1; distances to the maximum are exactly 0.
    peak = jax.ops.segment_max(jnp.where(counted, x, -jnp.inf), pool, num_pools)
    low = -jax.ops.segment_max(jnp.where(counted, -x, -jnp.inf), pool, num_pools)
    peak, low = (jnp.where(count > 0, end, 0.0) for end in (peak, low))
    mean = peak + safe_divide(summed(x - peak[pool]), count)
    equal = peak - low <= NEARLY_EQUAL * jnp.maximum(1.0, jnp.abs(peak))
    variance = summed((x - mean[pool]) ** 2) / jnp.maximum(count - ddof, 1.0)
    std = jnp.where(equal, 0.0, jnp.sqrt(jnp.where(equal, 1.0, variance)))
    return Moments(count[pool], mean[pool], std[pool])


def zscore(
    x: Array,
    counted: Array,
    pool: Array,
    *,
    num_pools: int,
    ddof: int = 0,
    eps: float = 1e-6,
    floor: float = 0.0,
) -> Array:
    """Distance from the mean of the pool in deviations, `(x - mean) / (std + eps)`.

    A pool with fewer than two counted entries, or of equal ones, gives exactly 0.

    Args:
      x: float [E].
      counted: bool [E]. Entries that enter the statistics.
      pool: int [E]. Pool of each entry, in any order.
      num_pools: Ids are below this number.
      ddof: 1 divides the variance by n - 1, 0 by n.
      eps: Added to the deviation.
      floor: Smallest deviation, in units of x.

    Returns:
      float [E]. 0 where not counted.

    >>> x, pool = jnp.array([1.0, 3.0]), jnp.zeros(2, int)
    >>> zscore(x, x > 0.0, pool, num_pools=1, eps=0.0).tolist()
    [-1.0, 1.0]
    """
    count, mean, std = moments(x, counted, pool, num_pools=num_pools, ddof=ddof)
    distance = jnp.where(counted & (count > 1) & (std > 0), x - mean, 0.0)
    return safe_divide(distance, jnp.maximum(std, floor) + eps)


def centre(x: Array, counted: Array, pool: Array, *, num_pools: int) -> Array:
    """Distance from the mean of the pool, `x - mean`.

    A pool with fewer than two counted entries, or of equal ones, gives exactly 0.

    Args:
      x: float [E].
      counted: bool [E]. Entries that enter the mean.
      pool: int [E]. Pool of each entry, in any order.
      num_pools: Ids are below this number.

    Returns:
      float [E]. 0 where not counted.

    >>> x, pool = jnp.array([1.0, 3.0]), jnp.zeros(2, int)
    >>> centre(x, x > 0.0, pool, num_pools=1).tolist()
    [-1.0, 1.0]
    """
    count, mean, std = moments(x, counted, pool, num_pools=num_pools)
    return jnp.where(counted & (count > 1) & (std > 0), x - mean, 0.0)


def centre_then_scale(
    x: Array, counted: Array, pool: Array, *, num_pools: int, eps: float = 1e-6
) -> Array:
    """Centre within pools, then divide by one deviation of all of them.

    Pools that differ more keep larger values, unlike after `zscore`.

    Args:
      x: float [E].
      counted: bool [E]. Entries that enter the statistics.
      pool: int [E]. Pool of each entry, in any order.
      num_pools: Ids are below this number.
      eps: Added to the deviation.

    Returns:
      float [E]. 0 where not counted.

    >>> x, pool = jnp.array([1.0, 3.0]), jnp.zeros(2, int)
    >>> centre_then_scale(x, x > 0.0, pool, num_pools=1, eps=0.0).tolist()
    [-1.0, 1.0]
    """
    centred = centre(x, counted, pool, num_pools=num_pools)
    std = moments(centred, counted, jnp.zeros_like(pool), num_pools=1).std
    return safe_divide(centred, std + eps)
