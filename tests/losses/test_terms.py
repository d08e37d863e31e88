"""Penalty, bonus, likelihood and critic: values and gradients by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.divergences.samples import k2
from jaxrl.losses.penalty import adaptive_coefficient, entropy_bonus, kl_penalty
from jaxrl.losses.supervised import nll
from jaxrl.losses.value import clipped_value

WEIGHTS = jnp.array([[0.25, 0.75, 0.0]])
X = jnp.array([[-1.0, -2.0, jnp.nan]])
TERMS = {
    "kl_penalty": (
        partial(kl_penalty, estimator=k2),
        (jnp.array([[-2.0, -2.0, jnp.inf]]),),
        0.125,
        [[0.25, 0.0, 0.0]],
        {"ref_kl": 0.25},
    ),
    "entropy_bonus": (
        entropy_bonus,
        (),
        1.75,
        [[-0.25, -0.75, 0.0]],
        {"entropy": -1.5},
    ),
    "nll": (nll, (), 1.75, [[-0.25, -0.75, 0.0]], {"nll": 1.5}),
}


@pytest.mark.parametrize(
    ("loss", "others", "value", "gradient", "metrics"), TERMS.values(), ids=TERMS
)
def test_by_hand(variant, loss, others, value, gradient, metrics):
    def both(x):
        found = loss(x, *others, WEIGHTS)
        return found.value, found.metrics

    (found, means), slope = variant(jax.value_and_grad(both, has_aux=True))(X)
    np.testing.assert_allclose(found, value, rtol=1e-6)
    np.testing.assert_allclose(slope, gradient, rtol=1e-6)
    assert {name: float(m.result()) for name, m in means.items()} == metrics


def test_critic_gains_nothing_beyond_the_clip(variant):
    """Inside the clip, outside towards the target, outside away from it, untrained."""
    values = jnp.array([[0.1, 0.9, -0.9, jnp.nan]])
    old, returns = jnp.zeros((1, 4)), jnp.array([[1.0, 1.0, 1.0, jnp.inf]])
    weights = jnp.array([[0.5, 0.25, 0.25, 0.0]])

    def loss(values):
        found = clipped_value(values, old, returns, weights, clip=0.2)
        return found.value, found.metrics

    (value, metrics), gradient = variant(jax.value_and_grad(loss, has_aux=True))(values)
    errors = np.array([0.9**2, 0.8**2, 1.9**2])
    np.testing.assert_allclose(value, 0.5 * errors @ [0.5, 0.25, 0.25], rtol=1e-5)
    np.testing.assert_allclose(
        gradient, [[0.5 * -0.9, 0.0, 0.25 * -1.9, 0.0]], rtol=1e-5
    )
    np.testing.assert_allclose(metrics["value_clip_fraction"].result(), 1 / 3)
    np.testing.assert_allclose(
        metrics["value_error"].result(), (0.9**2 + 0.1**2 + 1.9**2) / 3, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("kl", "expected"), [(6.0, 0.1), (3.0, 0.09), (6.6, 0.105), (60.0, 0.11)]
)
def test_adaptive_coefficient_follows_the_kl_within_limits(kl, expected):
    found = adaptive_coefficient(
        jnp.float32(0.1), jnp.float32(kl), target=6.0, horizon=2.0, samples=1
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
