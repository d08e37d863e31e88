"""The policy-gradient loss: the batch oracle of policy_opt 2.6, by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import clipped, importance
from jaxrl.surrogates.ratio import Surrogate
from jaxrl.weights import token_mean

OLD = jnp.log(jnp.array([[0.5, 0.1, 0.2], [0.5, 0.1, 0.25]]))
LOGP = jnp.log(jnp.array([[0.2, 0.48, 0.22], [0.2, 0.48, 0.25]]))
ADVANTAGES = jnp.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
MASK = jnp.array([[1, 1, 1], [1, 1, 0]], bool)
grpo = partial(policy_gradient, surrogate=clipped)


def test_oracle(variant):
    def loss(logp):
        return grpo(logp, OLD, ADVANTAGES, token_mean(MASK)).value

    value, gradient = variant(jax.value_and_grad(loss))(LOGP)
    np.testing.assert_allclose(value, 0.58, rtol=1e-5)
    expected = [[-0.08, 0, -0.22], [0, 0.96, 0]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


def test_only_the_slope_is_differentiated(variant):
    """The value of a surrogate is a constant, whatever it is computed from."""

    def steep(logp, old_logp, advantages, mask):
        value = jnp.exp(5.0 * (logp - old_logp))
        return Surrogate(value, jnp.full_like(value, 2.0))

    def loss(logp):
        weights = token_mean(MASK)
        return policy_gradient(logp, OLD, ADVANTAGES, weights, surrogate=steep).value

    gradient = variant(jax.grad(loss))(LOGP)
    expected = -2.0 * token_mean(MASK) * jnp.where(MASK, ADVANTAGES, 0.0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_metrics_by_hand():
    metrics = grpo(LOGP, OLD, ADVANTAGES, token_mean(MASK)).metrics
    ratio = np.array([0.4, 4.8, 1.1, 0.4, 4.8])
    expected = {
        "ratio": ratio.mean(),
        "clip_fraction": 2 / 5,
        "policy_kl": (ratio - 1 - np.log(ratio)).mean(),
        "logp_gap": np.abs(np.log(ratio)).mean(),
    }
    assert metrics.keys() == expected.keys()
    for name, mean in metrics.items():
        assert mean.count == 5
        np.testing.assert_allclose(mean.result(), expected[name], rtol=1e-5)


def test_only_the_trained_policy_gets_a_gradient_through_the_ratio():
    """The surrogate reads constants, so its own derivative adds nothing."""
    gradient = jax.grad(
        lambda x: (
            policy_gradient(
                x, OLD, ADVANTAGES, token_mean(MASK), surrogate=importance
            ).value
        )
    )(LOGP)
    expected = -token_mean(MASK) * ADVANTAGES * jnp.exp(LOGP - OLD)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_negative_weights_are_trained_too():
    """A weight is trained unless it is exactly 0."""
    ones = jnp.ones((1, 1))
    loss = policy_gradient(ones, ones, ones, -ones, surrogate=importance)
    assert loss.value == 1
