"""Masked diffusion: oracles 2 to 5 of multimodal 3 (f), by enumeration."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.losses.diffusion import elbo, masked_nll
from jaxrl.weights import sequence_mean, token_mean

close = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
UNIFORM = jnp.full((1, 6), -np.log(4.0), jnp.float32)
ANSWER = jnp.array([[0, 0, 1, 1, 1, 1]], bool)
HIDDEN = jnp.array([[0, 0, 1, 1, 0, 1]], bool)


def test_oracle_of_the_losses(variant):
    half = jnp.full((1, 6), 0.5)

    def loss(logp, weights):
        return masked_nll(logp, HIDDEN, half, weights).value

    everywhere = token_mean(jnp.ones_like(ANSWER))
    close(variant(loss)(UNIFORM, everywhere), 1.3862944)
    close(variant(loss)(UNIFORM, sequence_mean(ANSWER)), 2.0794415)
    gradient = jax.grad(loss)(jnp.where(HIDDEN, UNIFORM, jnp.nan), everywhere)
    close(gradient, jnp.where(HIDDEN, -2 / 6, 0.0))


def test_oracle_of_diffa():
    """Its mean over tokens is not the mean of the rows' means."""
    answer = jnp.array([[0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]], bool)
    hidden = jnp.array([[0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0]], bool)
    level = jnp.broadcast_to(jnp.array([[0.5], [0.25]]), (2, 6))
    logp = jnp.full((2, 6), -np.log(4.0), jnp.float32)
    found = masked_nll(logp, hidden, level, token_mean(answer))
    close(found.value, 1.9804205)
    close(found.metrics["nll"].result(), np.log(4))
    close(masked_nll(logp, hidden, level, sequence_mean(answer)).value, 1.9639170)


def draws_of(length):
    """Every number of hidden tokens, every set of that number; the numbers alike."""
    sets = [
        s
        for number in range(1, length + 1)
        for s in itertools.product([False, True], repeat=length)
        if sum(s) == number
    ]
    hidden = np.array(sets)
    number = hidden.sum(1)
    weight = 1 / length / np.array([(number == n).sum() for n in number])
    return jnp.asarray(hidden), jnp.asarray(number / length, jnp.float32), weight


def estimates(logp, hidden, share):
    """The estimate of every single draw."""
    return np.array(
        [
            elbo(x[None, None], m[None, None], s[None, None]).sum()
            for x, m, s in zip(logp, hidden, share, strict=True)
        ]
    )


def test_elbo_is_exact_without_context():
    hidden, share, weight = draws_of(3)
    logp = jnp.broadcast_to(jnp.log(jnp.array([0.5, 0.25, 0.8])), hidden.shape)
    found = estimates(logp, hidden, share)
    number = np.asarray(hidden).sum(1)
    close(sorted(found[number == 1]), sorted([-2.079442, -4.158883, -0.669431]))
    close(sorted(found[number == 2]), sorted([-3.119162, -1.374436, -2.414157]))
    for n in (1, 2, 3):
        close(found[number == n].mean(), -2.302585)
    close(weight @ (found - weight @ found) ** 2, 0.855948)


def test_shared_draws_make_the_difference_precise():
    hidden, share, weight = draws_of(2)
    alone = np.asarray(hidden).sum(1) == 1

    def of(both, given):
        return jnp.asarray(np.where(alone[:, None], np.log(given), np.log(both)))

    policy = estimates(of([0.6, 0.5], [0.9, 0.8]), hidden, share)
    reference = estimates(of([0.5, 0.5], [0.7, 0.6]), hidden, share)
    close(weight @ policy, -0.7662384)
    close(weight @ reference, -1.1268975)
    shared = policy - reference
    apart = (policy[:, None] - reference[None, :]).ravel()
    both = np.outer(weight, weight).ravel()
    close(weight @ (shared - weight @ shared) ** 2, 0.0324656)
    close(both @ (apart - both @ apart) ** 2, 0.2777158)


def test_elbo_averages_draws_and_ignores_what_is_shown():
    hidden = jnp.array([[[True, False]], [[True, True]]])
    logp = jnp.array([[[-1.0, jnp.nan]], [[-2.0, -3.0]]])
    share = jnp.array([[0.5], [1.0]])
    close(elbo(logp, hidden, share), [[-2.0, -1.5]])
    gradient = jax.grad(lambda x: elbo(x, hidden, share).sum())(logp)
    close(gradient, [[[1.0, 0.0]], [[0.5, 0.5]]])
