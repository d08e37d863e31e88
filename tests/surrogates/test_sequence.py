"""Sequence-level surrogates: the oracle of policy_opt 5.2, also in packed rows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.sequence import gmpo, gspo, topr, vespo, without_strays
from jaxrl.weights import sequence_mean, sequence_sum

OLD = jnp.log(jnp.array([[0.5, 0.2, 0.4], [0.5, 0.5, 1.0]]))
LOGP = jnp.log(jnp.array([[0.6, 0.1, 0.4], [0.6, 0.5, 1.0]]))
MASK = jnp.array([[1, 1, 1], [1, 1, 0]], bool)
ROWS = jnp.array([[0, 0, 0], [1, 1, -1]])
GOOD = [[-0.14057211] * 3, [0.27386128, 0.27386128, 0]]
BAD = [[0.15500174, 0, 0.15500174], [-0.27386128, -0.27386128, 0]]
CASES = [
    (gspo, sequence_mean, 1, 0.12600622, GOOD),
    (gmpo, sequence_mean, 1, 0.12600622, GOOD),
    (gspo, sequence_mean, -1, -0.00035, np.zeros((2, 3))),
    (partial(gspo, low=0.5, high=0.5), sequence_mean, -1, -0.12600622, -np.array(GOOD)),
    (gmpo, sequence_mean, -1, -0.08271734, BAD),
    (topr, sequence_sum, -1, -0.51692403, [[0.3, 0.3, 0.3], [-0.5, -0.5, 0]]),
]


@pytest.mark.parametrize(("surrogate", "weights", "sign", "value", "gradient"), CASES)
def test_oracle(surrogate, weights, sign, value, gradient):
    advantages = sign * jnp.array([[1.0] * 3, [-1.0] * 3])
    loss, slope = jax.value_and_grad(
        lambda x: (
            policy_gradient(
                x, OLD, advantages, weights(MASK), surrogate=surrogate
            ).value
        )
    )(LOGP)
    # The third value is the difference of two numbers near 0.5.
    np.testing.assert_allclose(loss, value, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-8)


def drop_strays(logp, old_logp, advantages, mask, sequence=None):
    trust = gspo(logp, old_logp, advantages, mask, sequence=sequence)
    return without_strays(
        trust, logp, old_logp, advantages, mask, threshold=0.1, sequence=sequence
    )


@pytest.mark.parametrize("surrogate", [gspo, gmpo, topr, vespo, drop_strays])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_packed_rows_are_unpacked_rows(variant, surrogate, sign):
    advantages = sign * jnp.array([[1.0] * 3, [-1.0] * 3])
    packed = (x.reshape(1, 6) for x in (LOGP, OLD, advantages, MASK))
    found = variant(surrogate)(*packed, sequence=ROWS.reshape(1, 6))
    expected = surrogate(LOGP, OLD, advantages, MASK)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x.reshape(2, 3), y, rtol=1e-6)


def test_advantages_of_tokens_decide_for_tokens():
    """GSPO-token: one ratio of 0.84, one token that may still fall and one not."""
    mixed = jnp.array([[1.0, -1.0, 1.0], [1.0, -1.0, 1.0]])
    found = gspo(LOGP, OLD, mixed, MASK).slope
    expected = [[0.84343267, 0, 0.84343267], [0, 1.09544512, 1]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_vespo_by_hand():
    """Ratios 0.6 and 1.2 of the sequences, either sign."""
    found = vespo(LOGP, OLD, jnp.ones((2, 3)), MASK).slope[:, 0]
    np.testing.assert_allclose(
        found, [0.36 * np.exp(1.2), 1.44 * np.exp(-0.6)], rtol=1e-5
    )
    found = vespo(LOGP, OLD, -jnp.ones((2, 3)), MASK).slope[:, 0]
    np.testing.assert_allclose(
        found, [0.216 * np.exp(0.8), 1.728 * np.exp(-0.4)], rtol=1e-5
    )


def test_topr_tapers_bad_sequences_only():
    """The good one has ratio 0.6, the bad one 1.2."""
    found = topr(LOGP, OLD, jnp.array([[1.0] * 3, [-1.0] * 3]), MASK)
    np.testing.assert_array_equal(found.slope, np.ones((2, 3)))
    np.testing.assert_allclose(found.value, np.where(MASK, LOGP, 0.0), rtol=1e-6)
