"""k1, k2, k3: oracles of policy_opt 5.3, and which KL their gradients minimise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.divergences.samples import absolute, k1, k2, k3

LOGITS = jnp.array([0.3, -1.0, 0.8, 0.1])
OTHER = jax.nn.log_softmax(jnp.array([-0.5, 0.2, 1.0, 0.4]))


def reverse(logits):
    logp = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(logp) * (logp - OTHER))


def forward(logits):
    return jnp.sum(jnp.exp(OTHER) * (OTHER - jax.nn.log_softmax(logits)))


@pytest.mark.parametrize(
    ("estimator", "distance", "expected"),
    [
        (k1, 0.5, -0.5),
        (k1, -0.5, 0.5),
        (k2, 0.5, 0.125),
        (k2, -0.5, 0.125),
        (k3, 0.5, 0.1487213),
        (k3, -0.5, 0.1065307),
    ],
)
def test_oracle(variant, estimator, distance, expected):
    found = variant(estimator)(jnp.float32(-1.0), jnp.float32(-1.0 + distance))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("estimator", [k1, k3])
def test_unbiased_under_the_policy(estimator):
    logp = jax.nn.log_softmax(LOGITS)
    mean = jnp.sum(jnp.exp(logp) * estimator(logp, OTHER))
    np.testing.assert_allclose(mean, reverse(LOGITS), rtol=1e-5)


@pytest.mark.parametrize(
    ("estimator", "minimised"), [(k1, lambda _: 0.0), (k2, reverse), (k3, forward)]
)
def test_gradient_on_own_samples(estimator, minimised):
    probability = jax.nn.softmax(LOGITS)

    def loss(logits):
        return jnp.sum(probability * estimator(jax.nn.log_softmax(logits), OTHER))

    np.testing.assert_allclose(
        jax.grad(loss)(LOGITS), jax.grad(minimised)(LOGITS), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("estimator", [k2, k3])
@pytest.mark.parametrize("x", [-60.0, -1e-4, 0.0, 1e-4, 60.0])
def test_never_negative_and_finite(estimator, x):
    value, gradient = jax.value_and_grad(estimator)(jnp.float32(x), jnp.float32(0.0))
    assert value >= 0
    assert np.isfinite(value)
    assert np.isfinite(gradient)


def test_absolute_distance_pulls_alike_from_everywhere_and_not_at_all_at_zero():
    x = jnp.array([-3.0, 0.0, 0.5])
    gradient = jax.grad(lambda x: absolute(x, jnp.zeros_like(x)).sum())(x)
    assert absolute(x, jnp.zeros_like(x)).tolist() == [3, 0, 0.5]
    assert gradient.tolist() == [-1, 0, 1]
