"""Averaging modes: the oracle of policy_opt 1.3, and what empty sequences do."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import weights

LOSS = np.array([[1.0, 2.0, 3.0, 9.0], [4.0, 9.0, 9.0, 9.0]])
MASK = jnp.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool)
MODES = {
    "token_mean": (lambda m, s: weights.token_mean(m), 2.5),
    "sequence_mean": (weights.sequence_mean, 3.0),
    "sequence_sum": (weights.sequence_sum, 5.0),
    "constant_length": (
        lambda m, s: weights.constant_length(m, s, length=4),
        1.25,
    ),
}
modes = pytest.mark.parametrize(("mode", "expected"), MODES.values(), ids=MODES)


@modes
def test_oracle(variant, mode, expected):
    found = variant(lambda m: mode(m, None))(MASK)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose((LOSS * found).sum(), expected, rtol=1e-6)


@modes
def test_packed_rows_weigh_the_same(variant, mode, expected):
    """Both sequences in one row, an empty one between them, and padding."""
    sequence = jnp.array([[7, 7, 7, 7, 2, 2, 3, 3, 3, 3, -1]])
    mask = jnp.concatenate([MASK[:1], jnp.zeros((1, 2), bool), MASK[1:]], axis=1)
    mask = jnp.concatenate([mask, jnp.zeros((1, 1), bool)], axis=1)
    loss = np.concatenate([LOSS[:1], [[5.0, 5.0]], LOSS[1:], [[5.0]]], axis=1)
    found = variant(mode)(mask, sequence)
    np.testing.assert_allclose((loss * found).sum(), expected, rtol=1e-6)
    assert not np.any(np.where(mask, 0, found))


@modes
def test_empty_rows_count_for_nothing(mode, expected):
    mask = jnp.concatenate([MASK, jnp.zeros((3, 4), bool)])
    found = mode(mask, None)
    np.testing.assert_allclose((LOSS * found[:2]).sum(), expected, rtol=1e-6)
    assert not np.any(found[2:])


@modes
def test_an_empty_batch_weighs_nothing(mode, expected):
    assert not np.any(mode(jnp.zeros((2, 3), bool), None))
