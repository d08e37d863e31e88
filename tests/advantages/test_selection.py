"""Picking tokens: against sorting and NumPy's quantile, with ties and masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.selection import (
    high_entropy,
    largest,
    order_statistic,
    quota,
    token_covariance,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)).astype(np.float32)
X[0, :3] = X[1, 2]
MASK = RNG.random((4, 6)) < 0.6
DIRTY = jnp.where(MASK, X, jnp.nan)


def test_order_statistic_is_that_of_sorting(variant):
    ordered = np.sort(X[MASK])
    statistic = variant(order_statistic)
    found = [statistic(DIRTY, MASK, jnp.int32(i)) for i in range(len(ordered))]
    np.testing.assert_array_equal(found, ordered)


def test_covariance_by_hand():
    advantages = jnp.array([[2.0, 4.0, jnp.nan, 0.0]])
    logp = jnp.array([[-1.0, -2.0, jnp.nan, -6.0]])
    mask = jnp.array([[True, True, False, True]])
    found = token_covariance(advantages, logp, mask)
    assert found.tolist() == [[0, 2, 0, 6]]


@pytest.mark.parametrize(
    ("share", "number"), [(0.0, 1), (0.29, 5), (0.31, 6), (1.0, 20)]
)
def test_quota_rounds_down_to_at_least_one(share, number):
    assert quota(jnp.ones((4, 5), bool), share) == number


def test_largest_picks_by_rank():
    scores = RNG.normal(size=(4, 6)).astype(np.float32)
    for number in (0, 1, 3, int(MASK.sum()), 99):
        found = largest(jnp.where(MASK, scores, jnp.nan), MASK, jnp.int32(number))
        bound = np.sort(scores[MASK])[::-1][:number].min(initial=np.inf)
        np.testing.assert_array_equal(found, MASK & (scores >= bound))


def test_ties_are_not_picked_beyond_the_number():
    scores, every = jnp.array([[1.0, 2.0, 2.0, 3.0]]), jnp.ones((1, 4), bool)
    found = largest(scores, every, jnp.int32(2))
    assert found.tolist() == [[False, False, False, True]]


def test_random_scores_pick_at_random():
    every = jnp.ones((1, 8), bool)
    picks = [
        largest(jax.random.uniform(jax.random.key(i), (1, 8)), every, jnp.int32(3))
        for i in range(4)
    ]
    assert {int(p.sum()) for p in picks} == {3}
    assert len({str(p) for p in picks}) > 1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_high_entropy_is_above_the_quantile(share):
    bound = np.quantile(X[MASK], 1 - share, method="linear")
    found = high_entropy(DIRTY, MASK, share=share)
    np.testing.assert_array_equal(found, MASK & (bound - 1e-6 <= X))


def test_nothing_is_picked_from_nothing():
    none = jnp.zeros((2, 3), bool)
    assert not largest(jnp.ones((2, 3)), none, jnp.int32(2)).any()
    assert not high_entropy(jnp.ones((2, 3)), none).any()
