"""Optimal token baselines: the energy is a squared gradient; places are ordinals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.token_baselines import gradient_energy, optimal_token_baseline

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
LOGITS = jnp.array([1.2, 0.3, -0.7, 0.1])


def energy_of(token):
    logp = jax.nn.log_softmax(LOGITS)
    one = jnp.ones((1, 1))
    return gradient_energy(
        logp[token] * one, jnp.sum(jnp.exp(2 * logp)) * one, 0 * one, one > 0
    )[0, 0]


@pytest.mark.parametrize("token", range(4))
def test_energy_is_the_squared_gradient(token):
    gradient = jax.grad(lambda x: jax.nn.log_softmax(x)[token])(LOGITS)
    close(energy_of(token), jnp.sum(gradient**2))
    probability = jax.nn.softmax(LOGITS)[token]
    assert jnp.sqrt(energy_of(token)) <= np.sqrt(2) * (1 - probability) * (1 + 1e-6)


def test_mean_energy_is_bounded_by_the_entropy():
    """Sure tokens have small gradients; oracle of policy_opt 4.7, I5."""
    logp = jax.nn.log_softmax(LOGITS)
    mean = sum(jnp.exp(logp[token]) * energy_of(token) for token in range(4))
    entropy = -jnp.sum(jnp.exp(logp) * logp)
    found = [mean, 1 - jnp.exp(-entropy), entropy]
    close(found, [0.636115, 0.690882, 1.174034])


def test_energy_adds_up_within_a_sequence_and_skips_holes(variant):
    sequence = jnp.array([[0, 0, 0, 1, 1, -1]])
    mask = jnp.array([[True, False, True, True, True, False]])
    logp = jnp.where(mask, jnp.log(0.5), jnp.nan)
    found = variant(gradient_energy)(logp, jnp.where(mask, 0.5, 9), sequence, mask)
    close(found, [[0.5, 0, 1, 0.5, 1, 0]])
    weighed = gradient_energy(logp, 0 * logp + 0.5, sequence, mask, 2 + 0 * logp)
    close(weighed, 4 * found)


def slow_baseline(returns, energy, sequence, mask, group, min_count):
    """Collect the tokens of each group and ordinal place."""
    found, places = np.zeros_like(returns), {}
    for n, t in zip(*np.nonzero(mask), strict=True):
        own = sequence[n, t]
        place = np.sum(mask[n, :t] & (sequence[n, :t] == own))
        places.setdefault((group[own], place), []).append((n, t))
    for tokens in places.values():
        index = tuple(np.array(tokens).T)
        if len(tokens) >= min_count:
            found[index] = np.sum(returns[index] * energy[index]) / np.sum(
                energy[index]
            )
    return found


@pytest.mark.parametrize("min_count", [1, 2])
def test_baseline_is_that_of_the_same_place(variant, min_count):
    rng = np.random.default_rng(0)
    sequence = np.array([[0, 0, 0, 1, 1, -1], [2] * 6, [3] * 5 + [-1]])
    mask = (sequence >= 0) & (rng.random((3, 6)) < 0.7)
    group = np.array([1, 0, 1, 1])
    returns = rng.normal(size=(3, 6)).astype(np.float32)
    energy = rng.uniform(0.1, 1, (3, 6)).astype(np.float32)
    expected = slow_baseline(returns, energy, sequence, mask, group, min_count)
    dirty = [jnp.where(mask, x, jnp.nan) for x in (returns, energy)]
    found = variant(partial(optimal_token_baseline, min_count=min_count))(
        *dirty, *map(jnp.asarray, (sequence, mask, group))
    )
    close(found, expected)
