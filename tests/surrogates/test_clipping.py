"""Clipping: the slope table of policy_opt 5.1, and the textbook form by autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.surrogates.clipping import clipped, dual_clipped, importance
from jaxrl.surrogates.ratio import LARGEST_LOG_RATIO, importance_ratio

RATIO = np.array([[0.25, 0.5, 0.9, 1.0, 1.1, 1.5, 4.0]], np.float32)
LOGP = jnp.log(0.2 * jnp.asarray(RATIO))
OLD = jnp.full_like(LOGP, jnp.log(0.2))
MASK = jnp.ones(RATIO.shape, bool)
SLOPES = [
    (importance, 1, [0.25, 0.5, 0.9, 1, 1.1, 1.5, 4]),
    (importance, -1, [0.25, 0.5, 0.9, 1, 1.1, 1.5, 4]),
    (clipped, 1, [0.25, 0.5, 0.9, 1, 1.1, 0, 0]),
    (clipped, -1, [0, 0, 0.9, 1, 1.1, 1.5, 4]),
    (partial(clipped, high=0.6), 1, [0.25, 0.5, 0.9, 1, 1.1, 1.5, 0]),
    (partial(clipped, low=0.6), -1, [0, 0.5, 0.9, 1, 1.1, 1.5, 4]),
    (dual_clipped, 1, [0.25, 0.5, 0.9, 1, 1.1, 0, 0]),
    (dual_clipped, -1, [0, 0, 0.9, 1, 1.1, 1.5, 0]),
]


@pytest.mark.parametrize(("surrogate", "sign", "expected"), SLOPES)
def test_slope_oracle(variant, surrogate, sign, expected):
    advantages = jnp.full_like(LOGP, sign)
    found = variant(surrogate)(LOGP, OLD, advantages, MASK)
    np.testing.assert_allclose(found.slope, [expected], rtol=1e-5)


def textbook_clipped(logp, advantages):
    ratio = jnp.exp(logp - OLD)
    return jnp.minimum(ratio * advantages, jnp.clip(ratio, 0.8, 1.28) * advantages)


def textbook_dual(logp, advantages):
    plain = textbook_clipped(logp, advantages)
    floor = jnp.maximum(plain, 3.0 * advantages)
    return jnp.where(advantages < 0, floor, plain)


@pytest.mark.parametrize("scale", [-2.0, 0.0, 0.5])
@pytest.mark.parametrize(
    ("surrogate", "textbook"),
    [(clipped, textbook_clipped), (dual_clipped, textbook_dual)],
)
def test_value_and_slope_are_those_of_the_textbook(surrogate, textbook, scale):
    advantages = jnp.full_like(LOGP, scale)
    found = surrogate(LOGP, OLD, advantages, MASK, low=0.2, high=0.28)
    value, pull = jax.vjp(lambda logp: textbook(logp, advantages), LOGP)
    np.testing.assert_allclose(advantages * found.value, value, rtol=1e-5)
    (gradient,) = pull(jnp.ones_like(value))
    np.testing.assert_allclose(advantages * found.slope, gradient, rtol=1e-5)


def test_ratio_on_the_bound_is_not_clipped():
    """Bounds that float32 represents, so that the ratio is exactly on them."""
    logp = jnp.log(jnp.array([[0.5, 2.0]]))
    bounds = importance_ratio(logp, jnp.zeros_like(logp), MASK[:, :2])
    advantages = jnp.array([[-1.0, 1.0]])
    found = clipped(
        logp,
        jnp.zeros_like(logp),
        advantages,
        MASK[:, :2],
        low=1 - bounds,
        high=bounds - 1,
    )
    assert np.all(found.slope > 0)


@pytest.mark.parametrize("surrogate", [importance, clipped, dual_clipped])
def test_masked_tokens_are_at_ratio_one(surrogate):
    bad = jnp.where(MASK & (jnp.arange(7) < 3)[None, :], LOGP, jnp.nan)
    found = surrogate(bad, OLD, jnp.ones_like(LOGP), ~jnp.isnan(bad))
    for x in found:
        np.testing.assert_array_equal(x[:, 3:], np.ones((1, 4)))


def test_ratio_of_impossible_tokens_is_finite():
    x = jnp.array([[1000.0, -1000.0]])
    found = importance_ratio(x, jnp.zeros_like(x), jnp.ones((1, 2), bool))
    limit = LARGEST_LOG_RATIO
    np.testing.assert_allclose(found, [[np.exp(limit), np.exp(-limit)]], rtol=1e-5)
