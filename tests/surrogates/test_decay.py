"""DGPO: the oracles of policy_opt 2.6 and the invariants D1 to D7 of 2.7."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import clipped, importance
from jaxrl.surrogates.decay import ce_gppo, dgpo, gppo, power_decay
from jaxrl.surrogates.gates import maspo
from jaxrl.weights import token_mean
from tests.losses.test_policy import ADVANTAGES, LOGP, MASK, OLD

TOKENS = [  # pi_old, pi, A, slope, weight on the gradient of pi
    (0.5, 0.2, -1, 0.2, 1.0),
    (0.1, 0.48, 1, 2.4, 5.0),
    (0.5, 0.55, 1, 1.1, 2.0),
    (0.1, 0.48, -1, 4.8, 10.0),
    (0.5, 0.2, 1, 0.4, 2.0),
    (0.5, 0.4 - 1e-7, -1, 0.8, 2.0),
    (0.5, 1e-6, -1, 5e-12, 5e-6),
]


def at(surrogate, pi_old, pi, sign):
    """Slopes for arrays of probabilities and one sign."""
    pi_old, pi = (jnp.asarray(x, jnp.float32).reshape(1, -1) for x in (pi_old, pi))
    pi_old, pi = jnp.broadcast_arrays(pi_old, pi)
    found = surrogate(
        jnp.log(pi),
        jnp.log(pi_old),
        jnp.full(pi.shape, float(sign)),
        jnp.ones(pi.shape, bool),
    )
    assert found.value is found.slope or np.all(found.value == found.slope)
    return np.asarray(found.slope[0])


@pytest.mark.parametrize(("pi_old", "pi", "sign", "slope", "weight"), TOKENS)
def test_dgpo_oracle(pi_old, pi, sign, slope, weight):
    found = at(dgpo, pi_old, pi, sign)[0]
    np.testing.assert_allclose(found, slope, rtol=1e-4)
    np.testing.assert_allclose(found / pi, weight, rtol=1e-4)


@pytest.mark.parametrize(
    ("surrogate", "loss", "gradient"),
    [
        (dgpo, 0.22, [[-0.08, -0.48, -0.22], [0.04, 0.96, 0]]),
        (
            maspo,
            0.5572021024,
            [[-0.08, -0.17372235, -0.21960559], [0.07053004, 0.96, 0]],
        ),
    ],
)
def test_batch_oracle(variant, surrogate, loss, gradient):
    """Token mean over the batch of 2.6 and 3.5."""

    def value(logp):
        weights = token_mean(MASK)
        return policy_gradient(
            logp, OLD, ADVANTAGES, weights, surrogate=surrogate
        ).value

    found = variant(jax.value_and_grad(value))(LOGP)
    np.testing.assert_allclose(found[0], loss, rtol=1e-5)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-5, atol=1e-7)


ORDERS = [(1, 2), (2, 2), (1, 1), (3, 3)]


@pytest.mark.parametrize(("n", "m"), ORDERS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_weight_is_bounded_and_falls_outside(n, m, sign):
    """D1 and D2: at most 1 / pi_old, exactly that inside, monotone outside."""
    pi = np.linspace(0.001, 0.999, 400)
    ratio = pi / 0.3
    weight = at(partial(dgpo, left_order=n, right_order=m), 0.3, pi, sign) / pi * 0.3
    outside = ratio < 0.8 if sign < 0 else ratio > 1.2
    np.testing.assert_allclose(weight[~outside], 1.0, rtol=1e-5)
    assert np.all(weight > 0)
    assert np.all(weight[outside] < 1)
    assert np.all(sign * np.diff(weight[outside]) < 0)


@pytest.mark.parametrize(("n", "m"), ORDERS)
def test_slope_is_continuous_at_the_bounds(n, m):
    """D3: from both sides of each bound."""
    surrogate = partial(dgpo, left_order=n, right_order=m)
    for bound, sign in ((0.8, -1), (1.2, 1)):
        ratio = bound + np.array([-1e-4, 1e-4])
        np.testing.assert_allclose(at(surrogate, 0.5, 0.5 * ratio, sign), bound, 1e-3)


@pytest.mark.parametrize(
    ("surrogate", "expected"),
    [
        (partial(dgpo, right_order=1), gppo),
        (partial(dgpo, right_order=10**8), importance),
        (partial(power_decay, left_power=0.0, right_power=0.0), gppo),
        (partial(power_decay, left_power=1.0, right_power=1.0), importance),
        (partial(dgpo, high=1e9), importance),
        (partial(ce_gppo, right_scale=0.0), clipped),
    ],
)
def test_right_side_of_the_family(surrogate, expected):
    """D4 and D6."""
    pi = np.linspace(0.05, 0.95, 20)
    found, other = (at_slope(x, pi, 1) for x in (surrogate, expected))
    np.testing.assert_allclose(found, other, rtol=1e-5)


@pytest.mark.parametrize(
    ("surrogate", "expected"),
    [
        (partial(dgpo, left_order=0), importance),
        (partial(dgpo, left_order=-1), gppo),
        (partial(dgpo, low=1.0), importance),
        (partial(ce_gppo, left_scale=0.0), clipped),
        (partial(ce_gppo, left_scale=1.0), gppo),
    ],
)
def test_left_side_of_the_family(surrogate, expected):
    """D4 and D6."""
    pi = np.linspace(0.05, 0.95, 20)
    found, other = (at_slope(x, pi, -1) for x in (surrogate, expected))
    np.testing.assert_allclose(found, other, rtol=1e-5)


def at_slope(surrogate, pi, sign):
    logp = jnp.log(jnp.asarray(pi, jnp.float32))[None, :]
    old = jnp.full_like(logp, jnp.log(0.2))
    advantages = jnp.full_like(logp, float(sign))
    return surrogate(logp, old, advantages, jnp.ones(logp.shape, bool)).slope


@pytest.mark.parametrize("sign", [-1, 1])
def test_on_policy_gradient_is_that_of_reinforce(sign):
    """D5."""
    np.testing.assert_allclose(at(dgpo, 0.4, 0.4, sign), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("surrogate", "sign", "ratios", "expected"),
    [
        (clipped, 1, (1.5, 2, 4), (1, 1, 1)),
        (gppo, 1, (1.5, 2, 4), (0.2, 0.4, 0.7)),
        (partial(dgpo, right_order=1), 1, (1.5, 2, 4), (0.2, 0.4, 0.7)),
        (dgpo, 1, (1.5, 2, 4), (0.10557, 0.2254, 0.45228)),
        (partial(dgpo, right_order=3), 1, (1.5, 2, 4), (0.07168, 0.15657, 0.33057)),
        (clipped, -1, (0.6, 0.4, 0.1), (1, 1, 1)),
        (gppo, -1, (0.6, 0.4, 0.1), (0.33333, 1, 7)),
        (dgpo, -1, (0.6, 0.4, 0.1), (0.25, 0.5, 0.875)),
        (partial(dgpo, left_order=2), -1, (0.6, 0.4, 0.1), (0.4375, 0.75, 0.98438)),
    ],
)
def test_bias_of_the_weight(surrogate, sign, ratios, expected):
    """D7: distance of the weight from the unbiased one, relative to it."""
    ratio = np.array(ratios)
    slope = np.asarray(at_slope(surrogate, 0.2 * ratio, sign))[0]
    np.testing.assert_allclose(abs(slope / ratio - 1), expected, atol=2e-5)
