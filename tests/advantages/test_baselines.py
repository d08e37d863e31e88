"""Baselines: by hand, over all subsets, and in degenerate groups."""

from functools import partial
from itertools import combinations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.baselines import (
    against_greedy,
    best_of_group,
    leave_one_out_valid,
    length_weighted_centred,
    mean_normalised,
    pass_at_k,
    set_apart,
)
from jaxrl.advantages.groups import group_centred, group_normalised, leave_one_out

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
ONE = jnp.zeros(4, int)


def test_set_apart_leaves_the_others_alone():
    group = jnp.array([1, 0, 1, 0])
    valid = jnp.array([True, True, False, False])
    found = set_apart(group, valid, num_groups=2)
    np.testing.assert_array_equal(found, [1, 0, 4, 5])


def test_masked_samples_are_left_out(variant):
    rewards = jnp.array([1.0, jnp.nan, 0.0, 0.5, 2.0, 1.0])
    group = jnp.array([0, 0, 0, 0, 1, 1])
    valid = jnp.array([True, False, True, True, True, False])
    found = variant(partial(leave_one_out_valid, num_groups=2))(rewards, group, valid)
    np.testing.assert_array_equal(found, [0.75, 0, -0.75, 0, 0, 0])


@pytest.mark.parametrize(("min_size", "size"), [(3, 1.5), (4, 0.0)])
def test_small_groups_get_nothing(min_size, size):
    rewards, valid = jnp.array([1.0, 0, 0, 5]), jnp.array([True, True, True, False])
    found = leave_one_out_valid(rewards, ONE, valid, num_groups=1, min_size=min_size)
    close(found, size * np.array([2 / 3, -1 / 3, -1 / 3, 0]))


def test_valid_samples_alone_are_plain_leave_one_out():
    rewards = jnp.array([1.0, 0.2, 0.7, -0.3])
    found = leave_one_out_valid(rewards, ONE, rewards < 9, num_groups=1)
    close(found, leave_one_out(rewards, ONE, num_groups=1))


def test_long_responses_weigh_more_in_the_baseline(variant):
    rewards, tokens = jnp.array([1.0, 0, 1, 5]), jnp.array([1.0, 3, 4, 2])
    group = jnp.array([0, 0, 0, 1])
    found = variant(partial(length_weighted_centred, num_groups=2))(
        rewards, tokens, group
    )
    close(found, [3 / 8, -5 / 8, 3 / 8, 5])


def test_equal_lengths_make_the_plain_mean():
    rewards = jnp.array([1.0, 0.2, 0.7, -0.3])
    found = length_weighted_centred(rewards, 0 * rewards + 7, ONE, num_groups=1)
    close(found, group_centred(rewards, ONE, num_groups=1))


@pytest.mark.parametrize("tokens", [[0.0, 0.0], [1.0, 7.0]])
def test_equal_rewards_have_no_better_length(tokens):
    rewards, group = jnp.array([0.1, 0.1]), jnp.array([0, 0])
    found = length_weighted_centred(rewards, jnp.array(tokens), group, num_groups=1)
    np.testing.assert_array_equal(found, [0, 0])


def test_success_of_all_weighs_one_however_rare():
    """Positive advantages add up to the failures: (1 - p) n."""
    rewards = jnp.array([1.0, 0, 0, 0, 1, 1, 0, 1, 0, 0])
    group = jnp.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    found = mean_normalised(rewards, group, num_groups=3)
    close(found, [3, -1, -1, -1, 1 / 3, 1 / 3, -1, 1 / 3, 0, 0])


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([3.0, 1, 2, 0], [1, 0, 0, 0]),
        ([3.0, 3, 2, 0], [0, 0, 0, 0]),
        ([-3.0, -1, -2, -9], [0, 1, 0, 0]),
        ([1.0, 1, 1, 1], [0, 0, 0, 0]),
    ],
)
def test_only_the_best_is_credited(variant, rewards, expected):
    found = variant(partial(best_of_group, num_groups=1))(jnp.array(rewards), ONE)
    np.testing.assert_array_equal(found, expected)


def test_the_best_of_one_gets_nothing():
    found = best_of_group(jnp.array([2.0, 1.0]), jnp.array([0, 1]), num_groups=2)
    np.testing.assert_array_equal(found, [0, 0])


def slow_pass_at_k(solved, k):
    """Normalise the best of all subsets, and average over those of a sample."""
    subsets = list(combinations(range(len(solved)), k))
    best = np.array([any(solved[i] for i in subset) for subset in subsets], float)
    scores = (best - best.mean()) / best.std()
    return [
        np.mean([x for x, subset in zip(scores, subsets, strict=True) if i in subset])
        for i in range(len(solved))
    ]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_pass_at_k_is_the_mean_over_all_subsets(variant, k):
    solved = np.array([True, False, False, False, True, False])
    found = variant(partial(pass_at_k, num_groups=1, k=k))(
        jnp.asarray(solved), jnp.zeros(6, int)
    )
    close(found, slow_pass_at_k(solved, k))


def test_pass_at_one_is_grpo():
    solved = jnp.array([True, False, False, True, False])
    group = jnp.array([0, 0, 0, 1, 1])
    found = pass_at_k(solved, group, num_groups=2, k=1)
    close(
        found,
        group_normalised(
            jnp.asarray(solved, float), group, num_groups=2, ddof=0, eps=0.0
        ),
    )


def test_subsets_that_fare_alike_and_small_groups_get_nothing():
    solved = jnp.array([True, True, True, False, False, True, True, False])
    group = jnp.array([0, 0, 0, 1, 1, 1, 2, 2])
    found = pass_at_k(solved, group, num_groups=3, k=3)
    np.testing.assert_array_equal(found, np.zeros(8))


def test_greedy_reward_is_the_baseline_of_its_sequence():
    sequence = jnp.array([[0, 0, 1, -1]])
    mask = jnp.array([[True, False, True, False]])
    returns = jnp.array([[3.0, jnp.nan, 2.0, jnp.nan]])
    found = against_greedy(returns, jnp.array([1.0, 5.0]), sequence, mask)
    np.testing.assert_array_equal(found, [[2, 0, -3, 0]])
