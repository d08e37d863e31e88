"""The normaliser of all tracks: agentic.md 1.2."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.groups import group_normalised
from jaxrl.advantages.zscore import centre, centre_then_scale, moments, zscore

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)
EVERY = pytest.mark.parametrize("normalise", [zscore, centre, centre_then_scale])


def alone(normalise, x, **options):
    """All of `x` in one pool."""
    x = jnp.asarray(x, jnp.float32)
    counted = jnp.ones_like(x, bool)
    return normalise(x, counted, jnp.zeros_like(x, int), num_pools=1, **options)


def test_pools_are_ragged_shuffled_and_masked(variant):
    x = jnp.array([1.0, 5.0, 3.0, jnp.nan, 9.0, 7.0])
    pool = jnp.array([4, 0, 4, 4, 0, 2])
    counted = jnp.array([True, True, True, False, True, True])
    found = variant(partial(zscore, num_pools=5))(x, counted, pool)
    close(found, [-1, -1, 1, 0, 1, 0])
    found = variant(partial(zscore, num_pools=5, ddof=1))(x, counted, pool)
    close(found, np.array([-1, -1, 1, 0, 1, 0]) * np.sqrt(0.5))
    found = variant(partial(centre, num_pools=5))(x, counted, pool)
    close(found, [-1, -2, 1, 0, 2, 0])
    found = variant(partial(centre_then_scale, num_pools=5))(x, counted, pool)
    close(found, np.array([-1, -2, 1, 0, 2, 0]) / np.sqrt(2.0))


def test_moments_are_given_to_entries_that_do_not_count():
    x, counted = jnp.array([1.0, 3.0, 50.0]), jnp.array([True, True, False])
    found = moments(x, counted, jnp.zeros(3, int), num_pools=2)
    np.testing.assert_array_equal(found, [[2, 2, 2], [2, 2, 2], [1, 1, 1]])


@EVERY
@pytest.mark.parametrize("value", [9.9, -0.1, 1e6])
@pytest.mark.parametrize("rounding", [0.0, 1.2e-7])
def test_equal_entries_are_worth_exactly_nothing(normalise, value, rounding):
    """Also where they only differ by the rounding of sums."""
    x = value * (1.0 + rounding * np.arange(7, dtype=np.float32))
    found = alone(normalise, x)
    np.testing.assert_array_equal(found, np.zeros(7))


@EVERY
def test_one_entry_or_none_is_worth_nothing(normalise):
    one = jnp.array([True, False])
    for counted in (one, one & False):
        x = jnp.array([5.0, 7.0])
        found = normalise(x, counted, jnp.zeros(2, int), num_pools=1)
        np.testing.assert_array_equal(found, np.zeros(2))


def test_floor_bounds_small_deviations():
    close(
        alone(zscore, [0.0, 0.0, -0.1, 0.0]), [0.577337, 0.577337, -1.732011, 0.577337]
    )
    found = alone(zscore, [0.0, 0.0, -0.1, 0.0], floor=0.05, eps=0.0)
    close(found, np.array([0.025, 0.025, -0.075, 0.025]) / 0.05)
    found = alone(zscore, [0.0, 1.0], floor=0.05, eps=0.0)
    close(found, [-1, 1])


def test_is_the_group_advantage_where_all_count():
    rewards = jnp.array([0.3, 1.0, -2.0, 0.5, 0.1])
    group = jnp.array([0, 1, 0, 1, 0])
    for ddof in (0, 1):
        found = zscore(rewards, group >= 0, group, num_pools=2, ddof=ddof)
        close(found, group_normalised(rewards, group, num_groups=2, ddof=ddof))


def test_oracle_of_baseline_then_scale():
    x, pool = jnp.array([10.0, 0.0, 10.0, 10.0]), jnp.array([0, 0, 1, 1])
    found = centre_then_scale(x, x >= 0, pool, num_pools=2)
    close(found, [1.414214, -1.414214, 0, 0])
