"""Group advantages: oracles of policy_opt 1.5 and 5.3, and degenerate groups."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.groups import (
    differs_within,
    group_centred,
    group_normalised,
    leave_one_out,
    lengths,
    spread,
    totals,
)

ORACLES = [
    (group_normalised, [1, 1, 0, 0], [0.8660239, 0.8660239, -0.8660239, -0.8660239]),
    (group_normalised, [1, 0, 0, 0], [1.499997, -0.499999, -0.499999, -0.499999]),
    (
        partial(group_normalised, ddof=0),
        [1, 1, 0, 0],
        [0.999998, 0.999998, -0.999998, -0.999998],
    ),
    (
        partial(group_normalised, ddof=0),
        [1, 0, 0, 0],
        [1.7320468, -0.5773489, -0.5773489, -0.5773489],
    ),
    (group_centred, [1, 1, 0, 0], [0.5, 0.5, -0.5, -0.5]),
    (group_centred, [1, 0, 0, 0], [0.75, -0.25, -0.25, -0.25]),
    (leave_one_out, [1, 1, 0, 0], [2 / 3, 2 / 3, -2 / 3, -2 / 3]),
    (leave_one_out, [1, 0, 0, 0], [1.0, -1 / 3, -1 / 3, -1 / 3]),
]
EVERY = pytest.mark.parametrize(
    "advantages", [group_centred, group_normalised, leave_one_out]
)


@pytest.mark.parametrize(("advantages", "rewards", "expected"), ORACLES)
def test_oracle(variant, advantages, rewards, expected):
    rewards, group = jnp.array(rewards, jnp.float32), jnp.zeros(4, int)
    found = variant(partial(advantages, num_groups=1))(rewards, group)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@EVERY
def test_ragged_shuffled_groups_are_independent(advantages):
    rng = np.random.default_rng(0)
    group = np.array([3, 0, 3, 1, 0, 1, 0])
    rewards = rng.normal(size=7).astype(np.float32)
    found = advantages(jnp.asarray(rewards), jnp.asarray(group), num_groups=7)
    for own in set(group):
        alone = jnp.asarray(rewards[group == own])
        expected = advantages(alone, jnp.zeros(len(alone), int), num_groups=1)
        np.testing.assert_allclose(found[group == own], expected, rtol=1e-5, atol=1e-6)


@EVERY
@pytest.mark.parametrize("reward", [0.1, 1.0, -0.7])
def test_equal_rewards_are_worth_exactly_nothing(variant, advantages, reward):
    group = jnp.zeros(3, int)
    found = variant(partial(advantages, num_groups=1))(jnp.full(3, reward), group)
    np.testing.assert_array_equal(found, np.zeros(3))


@pytest.mark.parametrize(
    ("advantages", "expected"),
    [(group_centred, 2.0), (group_normalised, 2 / (1 + 1e-6)), (leave_one_out, 0.0)],
)
def test_group_of_one(advantages, expected):
    found = advantages(jnp.array([2.0]), jnp.array([0]), num_groups=1)
    np.testing.assert_allclose(found, [expected], rtol=1e-7)


def test_equal_rewards_without_eps_are_finite():
    found = group_normalised(jnp.ones(2), jnp.zeros(2, int), num_groups=1, eps=0.0)
    np.testing.assert_array_equal(found, np.zeros(2))


def test_spread_follows_the_sequence_not_the_row(variant):
    sequence = jnp.array([[2, 2, 0, -1], [1, 1, 1, 1]])
    mask = jnp.array([[False, True, True, True], [True, False, True, True]])
    found = variant(spread)(jnp.array([10.0, 20.0, 30.0]), sequence, mask)
    np.testing.assert_array_equal(found, [[0, 30, 10, 0], [20, 0, 20, 20]])


def test_spread_keeps_the_rewards_of_others_out():
    """A reward that isn't a number spoils its own sequence only."""
    sequence = jnp.array([[0, 1]])
    found = spread(jnp.array([jnp.nan, 1.0]), sequence, sequence >= 0)
    assert found[0, 1] == 1


def test_rewards_that_are_no_numbers_are_not_equal():
    """A reward that isn't a number must show, not turn into 0."""
    rewards, group = jnp.array([jnp.nan, 1.0, 2.0, 2.0]), jnp.array([0, 0, 1, 1])
    found = differs_within(rewards, group, num_groups=2)
    np.testing.assert_array_equal(found, [True, True, False, False])


def test_totals_and_lengths_follow_the_sequence_not_the_row(variant):
    sequence = jnp.array([[2, 2, 0, -1], [1, 1, 1, 1]])
    mask = jnp.array([[False, True, True, True], [True, False, True, True]])
    x = jnp.array([[jnp.nan, 2.0, 3.0, 4.0], [5.0, jnp.nan, 6.0, 7.0]])
    found = variant(partial(totals, num_sequences=4))(x, sequence, mask)
    np.testing.assert_array_equal(found, [3, 18, 2, 0])
    counted = lengths(sequence, mask, num_sequences=4)
    np.testing.assert_array_equal(counted, [1, 3, 1, 0])


def test_computed_rewards_that_are_equal_are_worth_exactly_nothing():
    """The compiler may fuse the product into a subtraction, rounded only once.

    It does so where it optimises, which conftest.py turns off.
    """
    group = np.array([2, 0, 2, 1, 0, 1, 0, 7])
    level = (0.1 * (1 + group)).astype(np.float32)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})
    def credit(columns):
        answer, form, process = columns.T
        rewards = process * (0.9 * answer + 0.1 * form)
        alike = partial(group_normalised, num_groups=8, ddof=0)
        return rewards, alike(rewards, jnp.asarray(group))

    _, found = credit(np.broadcast_to(level[:, None], (8, 3)))
    np.testing.assert_array_equal(found[:7], np.zeros(7))
