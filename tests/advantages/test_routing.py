"""SCOPE's weights: oracles 3-A and 3-B of distillation, and invariances."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.routing import (
    boundary_shares,
    class_sizes,
    group_softmax,
    recoverable_shares,
    sequence_sums,
)

TEACHER = -jnp.log(jnp.array([1.361, 1.755, 2.383]))
STUDENT = -jnp.log(jnp.array([1.2, 1.5, 2.0]))
ALL, ONE = jnp.ones(3, bool), jnp.zeros(3, int)
close = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shares", "logp", "temperature", "expected"),
    [
        (recoverable_shares, TEACHER, 1.0, [0.426143, 0.330474, 0.243383]),
        (recoverable_shares, TEACHER, 0.5, [0.518784, 0.311995, 0.169221]),
        (recoverable_shares, TEACHER, 2.0, [0.379312, 0.334031, 0.286657]),
        (boundary_shares, STUDENT, 1.0, [0.255319, 0.319149, 0.425532]),
        (boundary_shares, STUDENT, 0.5, [0.187256, 0.292588, 0.520156]),
        (boundary_shares, STUDENT, float("inf"), [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_oracle(variant, shares, logp, temperature, expected):
    found = variant(partial(shares, num_groups=1, temperature=temperature))
    close(found(logp, ALL, ONE), expected)


def test_the_reversed_sign_of_the_release_is_not_ours():
    found = boundary_shares(STUDENT, ALL, ONE, num_groups=1)
    assert np.abs(found - np.array([0.416667, 0.333333, 0.25])).max() > 0.1


def test_classes_and_groups_do_not_mix():
    logp = jnp.array([-1.0, -2.0, -3.0, jnp.nan, -1.0])
    member = jnp.array([True, True, True, False, False])
    group = jnp.array([4, 1, 4, 4, 1])
    found = group_softmax(logp, member, group, num_groups=5)
    first = 1 / (1 + np.exp(-2))
    close(found, [first, 1, 1 - first, 0, 0])
    close(class_sizes(member, group, num_groups=5), [2, 1, 2, 2, 1])


def test_a_constant_changes_nothing_and_large_numbers_are_finite():
    far = TEACHER - 5000.0
    found = recoverable_shares(far, ALL, ONE, num_groups=1)
    np.testing.assert_allclose(
        found, recoverable_shares(TEACHER, ALL, ONE, num_groups=1), rtol=1e-3
    )


def test_sums_of_sequences_anywhere(variant):
    x = jnp.array([[1.0, 2.0, 4.0], [8.0, jnp.nan, 16.0]])
    sequence = jnp.array([[2, 2, 0], [0, 0, -1]])
    mask = jnp.array([[True, True, True], [True, False, False]])
    found = variant(partial(sequence_sums, num_sequences=3))(x, sequence, mask)
    assert found.tolist() == [12.0, 0.0, 3.0]
