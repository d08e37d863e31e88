"""Quotients and sums that padding can't break."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.masking import masked_mean, masked_sum, safe_divide


def test_division_by_zero_is_zero_in_value_and_gradient(variant):
    value, gradient = variant(jax.value_and_grad(safe_divide, argnums=(0, 1)))(
        jnp.float32(2.0), jnp.float32(0.0)
    )
    assert value == 0
    assert gradient == (0, 0)


def test_masked_reductions_are_boolean_indexing(variant):
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    mask = np.random.default_rng(1).random((3, 4)) < 0.6
    dirty = jnp.where(mask, x, jnp.nan)
    np.testing.assert_allclose(
        variant(masked_sum)(dirty, mask), x[mask].sum(), rtol=1e-6
    )
    np.testing.assert_allclose(
        variant(lambda x: masked_mean(x, jnp.asarray(mask), 1))(dirty),
        [row[m].mean() if m.any() else 0 for row, m in zip(x, mask, strict=True)],
        rtol=1e-5,
    )


def test_mean_of_nothing_is_zero():
    assert masked_mean(jnp.ones(3), jnp.zeros(3, bool)) == 0
