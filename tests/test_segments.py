"""Sums over stretches of tokens and over groups, against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import segments

SEQUENCE = jnp.array([[3, 3, 0, 0, 0, -1], [1, -1, -1, -1, -1, -1], [2, 2, 4, 4, 5, 5]])


def test_pool_is_the_sum_of_each_run(variant):
    x = np.random.default_rng(0).normal(size=SEQUENCE.shape).astype(np.float32)
    expected = np.zeros_like(x)
    for n, row in enumerate(np.asarray(SEQUENCE)):
        for own in set(row[row >= 0]):
            expected[n, row == own] = x[n, row == own].sum()
    found = variant(segments.pool)(jnp.asarray(x), SEQUENCE)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_pool_gives_all_tokens_of_a_sequence_the_same_number():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 100)), jnp.float32)
    found = segments.pool(x, jnp.zeros((1, 100), int))
    assert np.unique(found).size == 1


def test_pool_ignores_padding():
    x = jnp.where(SEQUENCE < 0, jnp.nan, 1.0)
    assert not np.any(np.isnan(segments.pool(x, SEQUENCE)))


def test_gradient_of_pool_stays_within_the_sequence():
    gradient = jax.grad(lambda x: segments.pool(x, SEQUENCE)[0, 0])(
        jnp.ones(SEQUENCE.shape)
    )
    np.testing.assert_array_equal(gradient, np.asarray(SEQUENCE) == 3)


def test_last_marks_the_end_of_the_mask_not_of_the_sequence(variant):
    mask = jnp.array([[1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1]], bool)
    expected = [[1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1]]
    np.testing.assert_array_equal(variant(segments.last)(mask, SEQUENCE), expected)


def test_decayed_sum_is_the_recurrence(variant):
    rng = np.random.default_rng(2)
    x, decay = rng.normal(size=(2, 3, 7)).astype(np.float32)
    expected, carry = np.zeros_like(x), np.zeros(3)
    for t in reversed(range(7)):
        carry = x[:, t] + decay[:, t] * carry
        expected[:, t] = carry
    found = variant(segments.decayed_sum)(jnp.asarray(x), jnp.asarray(decay))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ddof", [0, 1])
def test_group_statistics_are_those_of_numpy(variant, ddof):
    group = np.array([4, 0, 4, 2, 0, 4, 2])
    x = np.random.default_rng(3).normal(size=7).astype(np.float32)

    def statistics(x, group):
        return (
            segments.segment_sum(x, group, num_groups=7),
            segments.segment_mean(x, group, num_groups=7),
            segments.segment_max(x, group, num_groups=7),
            segments.segment_std(x, group, num_groups=7, ddof=ddof),
            segments.segment_count(group, num_groups=7),
        )

    reductions = (np.sum, np.mean, np.max, lambda y: np.std(y, ddof=ddof), np.size)
    found = variant(statistics)(jnp.asarray(x), jnp.asarray(group))
    for actual, reduce in zip(found, reductions, strict=True):
        expected = [reduce(x[group == g]) for g in group]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_mean_of_equal_numbers_is_exact(variant):
    x, group = jnp.full(7, 0.1), jnp.zeros(7, int)
    mean = variant(lambda x: segments.segment_mean(x, group, num_groups=1))(x)
    np.testing.assert_array_equal(mean, x)


def test_deviation_of_one_is_zero():
    x, group = jnp.array([3.0]), jnp.array([0])
    assert segments.segment_std(x, group, num_groups=1, ddof=1) == 0
