"""Discounted returns and GAE: the oracle of policy_opt 5.3, holes, and loops."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.returns import (
    at_end,
    discounted_returns,
    gae,
    lambda_returns,
    less_kl,
    n_step_returns,
)

ONE = jnp.zeros((1, 3), int)
REWARDS = jnp.array([[0.0, 0.0, 1.0]])
VALUES = jnp.array([[0.5, 0.6, 0.7]])


@pytest.mark.parametrize(
    ("decay", "advantages", "returns"),
    [
        (0.95, [0.46575, 0.385, 0.3], [0.96575, 0.985, 1.0]),
        (1.0, [0.5, 0.4, 0.3], [1.0, 1.0, 1.0]),
    ],
)
def test_gae_oracle(variant, decay, advantages, returns):
    found = variant(partial(gae, decay=decay))(REWARDS, VALUES, ONE, ONE == 0)
    np.testing.assert_allclose(found[0], [advantages], rtol=1e-5)
    np.testing.assert_allclose(found[1], [returns], rtol=1e-5)


def slow_gae(rewards, values, sequence, mask, discount, decay):
    """Walk each sequence's trained tokens backwards."""
    advantages = np.zeros_like(values)
    for n in range(len(values)):
        for own in set(sequence[n][sequence[n] >= 0]):
            following = carry = 0.0
            for t in reversed(np.flatnonzero((sequence[n] == own) & mask[n])):
                delta = rewards[n, t] + discount * following - values[n, t]
                carry = delta + discount * decay * carry
                advantages[n, t], following = carry, values[n, t]
    return advantages


def ragged():
    rng = np.random.default_rng(0)
    sequence = np.array([[0, 0, 0, 0, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, -1, -1]])
    mask = (sequence >= 0) & np.array(
        [[0, 1, 0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1, 1, 1]], bool
    )
    rewards, values = rng.normal(size=(2, 2, 8)).astype(np.float32)
    return rewards, values, sequence, mask


def test_gae_skips_holes_and_keeps_sequences_apart(variant):
    rewards, values, sequence, mask = ragged()
    expected = slow_gae(rewards, values, sequence, mask, 0.9, 0.8)
    dirty = [jnp.where(mask, x, jnp.nan) for x in (rewards, values)]
    advantages, returns = variant(partial(gae, discount=0.9, decay=0.8))(
        *dirty, jnp.asarray(sequence), jnp.asarray(mask)
    )
    np.testing.assert_allclose(advantages, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        returns, np.where(mask, expected + values, 0), rtol=1e-5, atol=1e-6
    )


def test_returns_are_gae_without_a_critic(variant):
    rewards, values, sequence, mask = (jnp.asarray(x) for x in ragged())
    found = variant(partial(discounted_returns, discount=0.9))(rewards, sequence, mask)
    expected, _ = gae(
        rewards, jnp.zeros_like(values), sequence, mask, discount=0.9, decay=1.0
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_undiscounted_returns_are_reversed_sums():
    x = jnp.array([[1.0, 2.0, 4.0]])
    found = discounted_returns(x, ONE, ONE == 0)
    np.testing.assert_array_equal(found, [[7.0, 6.0, 4.0]])


def test_rewards_stand_on_the_last_trained_token():
    _, _, sequence, mask = ragged()
    found = at_end(jnp.array([1.0, 2.0, 3.0]), jnp.asarray(sequence), jnp.asarray(mask))
    np.testing.assert_array_equal(
        found, [[0, 0, 0, 1, 0, 2, 0, 0], [0, 0, 0, 0, 0, 3, 0, 0]]
    )


def test_lambda_returns_less_values_are_gae(variant):
    rewards, values, sequence, mask = (jnp.asarray(x) for x in ragged())
    dirty = [jnp.where(mask, x, jnp.nan) for x in (rewards, values)]
    mixed = variant(partial(lambda_returns, discount=0.9, decay=0.8))(
        *dirty, sequence, mask
    )
    expected, _ = gae(rewards, values, sequence, mask, discount=0.9, decay=0.8)
    np.testing.assert_allclose(
        mixed, jnp.where(mask, expected + values, 0), rtol=1e-5, atol=1e-6
    )


def slow_n_step(rewards, values, sequence, mask, steps, discount):
    """Sum the next rewards of each trained token one by one."""
    returns = np.zeros_like(values)
    for n, t in zip(*np.nonzero(mask), strict=True):
        own = np.flatnonzero((sequence[n] == sequence[n, t]) & mask[n])
        ahead = own[own >= t]
        for i, step in enumerate(ahead[:steps]):
            returns[n, t] += discount**i * rewards[n, step]
        if len(ahead) > steps:
            returns[n, t] += discount**steps * values[n, ahead[steps]]
    return returns


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_n_step_returns_sum_n_rewards(steps):
    rewards, values, sequence, mask = ragged()
    expected = slow_n_step(rewards, values, sequence, mask, steps, 0.9)
    dirty = [jnp.where(mask, x, jnp.nan) for x in (rewards, values)]
    found = n_step_returns(
        *dirty, jnp.asarray(sequence), jnp.asarray(mask), steps=steps, discount=0.9
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_kl_is_paid_for_on_every_token_of_the_mask():
    rewards, old, ref = jnp.array([[[0.0, 1.0, 9.0]], [[-1, -2, -3]], [[-2, -1, -9]]])
    mask = jnp.array([[True, True, False]])
    found = less_kl(rewards, old, ref, mask, coef=0.5)
    np.testing.assert_array_equal(found, [[-0.5, 1.5, 0]])
