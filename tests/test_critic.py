"""A critic reads the state before each token, and stays apart from the policy."""

import dataclasses
from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.critic import of_critic, values, with_critic, without_critic
from jaxrl.scoring import predicting_states
from tests import tiny


@pytest.fixture(scope="module", autouse=True)
def _compile_quickly():
    with tiny.cached_compilation():
        yield


@cache
def params():
    """A critic that has an opinion."""
    found = with_critic(tiny.params())
    value = {"kernel": jnp.linspace(-1.0, 1.0, 16), "bias": jnp.array([0.5])}
    return {**found, "critic": {**found["critic"], "value": value}}


found_values = jax.jit(lambda params, batch: values(tiny.MODEL, params, batch))


def test_a_new_critic_expects_nothing():
    found = found_values(with_critic(tiny.params()), tiny.batch())
    assert found.shape == tiny.batch().tokens.shape
    assert not np.asarray(found).any()


def test_values_are_linear_in_the_state_before_the_token():
    batch = tiny.batch("rows")
    hidden = predicting_states(tiny.MODEL, tiny.params(), batch)
    expected = hidden @ jnp.linspace(-1.0, 1.0, 16) + 0.5
    expected = np.where(batch.mask, expected, 0.0)
    np.testing.assert_allclose(found_values(params(), batch), expected, atol=1e-5)


def test_a_critic_has_a_decoder_of_its_own():
    moved = {**params()["critic"], "embedding": tiny.params(5)["embedding"]}
    before = found_values(params(), tiny.batch())
    after = found_values({**params(), "critic": moved}, tiny.batch())
    assert not np.allclose(before, after, atol=1e-2)
    policy = {**tiny.params(5), "critic": params()["critic"]}
    np.testing.assert_array_equal(found_values(policy, tiny.batch()), before)


def test_a_value_does_not_see_its_own_token():
    batch = tiny.batch("rows")
    row, token = np.argwhere(batch.mask)[0]
    tokens = np.array(batch.tokens)
    tokens[row, token] = 3 + (tokens[row, token] - 2) % 12
    assert tokens[row, token] != batch.tokens[row, token]
    before = found_values(params(), batch)
    after = found_values(params(), dataclasses.replace(batch, tokens=tokens))
    np.testing.assert_array_equal(before[row, : token + 1], after[row, : token + 1])


def test_values_are_the_same_however_sequences_lie():
    def in_order(layout):
        batch = tiny.batch(layout)
        found = np.asarray(found_values(params(), batch))
        rows = range(len(batch.group))
        return np.concatenate([found[(batch.sequence == i) & batch.mask] for i in rows])

    for layout in ("rows", "packed"):
        np.testing.assert_allclose(in_order(layout), in_order("shared"), atol=1e-5)


def test_policy_and_critic_come_apart_again():
    both = with_critic(tiny.params())
    chex.assert_trees_all_equal(without_critic(both), tiny.params())
    assert not any(jax.tree.leaves(of_critic(tiny.params())))
    marked = of_critic(both)
    assert all(jax.tree.leaves(marked["critic"]))
    assert not any(jax.tree.leaves(without_critic(marked)))


def test_both_may_be_donated():
    policy = tiny.params()
    both = with_critic(policy)
    doubled = jax.jit(lambda x: jax.tree.map(jnp.add, x, x), donate_argnums=0)(both)
    chex.assert_tree_all_finite(doubled)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(both))
