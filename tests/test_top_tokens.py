"""The most likely tokens, tile by tile, against a whole softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.top_tokens import top_tokens

N, T, E, V, K = 3, 5, 4, 11, 3


def example(seed=0):
    rng = np.random.default_rng(seed)
    hidden = jnp.asarray(rng.normal(size=(N, T, E)), jnp.float32)
    matrix = jnp.asarray(rng.normal(size=(V, E)), jnp.float32)
    return hidden, matrix, jnp.asarray(rng.random((N, T)) < 0.6)


@pytest.mark.parametrize("tile", [V, 4 * V, 1000 * V])
def test_tokens_are_those_of_the_whole_softmax(variant, tile):
    hidden, matrix, mask = example()
    top = variant(lambda *x: top_tokens(*x, k=K, temperature=0.7, tile_logits=tile))(
        hidden, matrix, mask
    )
    whole = jax.nn.log_softmax(jnp.einsum("nte,ve->ntv", hidden, matrix) / 0.7)
    logp, ids = jax.lax.top_k(whole, K)
    live = np.asarray(mask)
    np.testing.assert_array_equal(np.asarray(top.ids)[live], np.asarray(ids)[live])
    np.testing.assert_allclose(
        np.asarray(top.logp)[live], np.asarray(logp)[live], rtol=1e-5, atol=1e-6
    )
    assert np.asarray(top.valid)[live].all()


def test_masked_positions_say_nothing_and_leak_nothing():
    hidden, matrix, mask = example()
    spoilt = jnp.where(mask[..., None], hidden, jnp.nan)
    top, clean = (top_tokens(x, matrix, mask, k=K) for x in (spoilt, hidden))
    dead = ~np.asarray(mask)
    assert not np.asarray(top.valid)[dead].any()
    assert not np.asarray(top.ids)[dead].any()
    assert not np.asarray(top.logp)[dead].any()
    np.testing.assert_array_equal(top.logp, clean.logp)


def test_all_tokens_have_all_of_the_mass():
    hidden, matrix, mask = example(1)
    top = top_tokens(hidden, matrix, mask, k=V)
    mass = np.exp(np.asarray(top.logp)).sum(-1)
    np.testing.assert_allclose(mass[np.asarray(mask)], 1.0, rtol=1e-5)
    assert (np.sort(np.asarray(top.ids)[np.asarray(mask)], -1) == np.arange(V)).all()


def test_nothing_is_learnt_through_them():
    hidden, matrix, mask = example()
    slope = jax.grad(lambda x: top_tokens(x, matrix, mask, k=K).logp.sum())(hidden)
    assert not np.asarray(slope).any()
