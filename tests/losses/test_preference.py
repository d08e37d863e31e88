"""Pair losses: oracles 1-C of distillation, O1 of SelSkill, 5 of VRPO, and by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.losses import preference_variants as variants
from jaxrl.losses.preference import (
    averaged,
    hinge,
    ipo,
    length_desensitised,
    logistic,
    pair_mean,
    preference,
    summed,
)

close = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
C, J = jnp.array([2.0, -1.0]), jnp.array([-1.0, 0.5])
PAIR_LOSSES = [
    logistic,
    hinge,
    ipo,
    variants.robust,
    variants.exo,
    variants.nca,
    variants.bco,
    variants.sppo,
    variants.apo_zero,
    variants.apo_down,
    variants.discopop,
]


def sig(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def test_oracle_of_dpo(variant):
    def loss(c, smoothing=0.0):
        pair_loss = partial(logistic, beta=0.1, smoothing=smoothing)
        sides = (c, jnp.array([-20.0]), jnp.array([-14.0]), jnp.array([-19.0]))
        return preference(*sides, jnp.ones(1), pair_loss=pair_loss).value

    value, gradient = variant(jax.value_and_grad(loss))(jnp.array([-12.0]))
    close(value, 0.554355)
    close(gradient, [0.1 * -0.425557])
    close(loss(jnp.array([-12.0]), 0.1), 0.584355)


@pytest.mark.parametrize(
    ("sides", "beta", "expected"),
    [
        ((-0.5, -0.9, -0.7, -0.8), 0.1, 0.678260),
        ((0.0, -0.9, 0.0, -0.8), 0.1, 0.688160),
        ((-10.0, -15.0, -12.0, -14.0), 0.2, 0.4374880),
        ((-3.0, -5.0, -3.0, -5.0), 0.7, np.log(2)),
    ],
)
def test_oracle_of_scores(sides, beta, expected):
    """Chosen, rejected, then both under the reference."""
    sides = (jnp.array([x]) for x in sides)
    pair_loss = partial(logistic, beta=beta)
    close(preference(*sides, jnp.ones(1), pair_loss=pair_loss).value, expected)


@pytest.mark.parametrize(
    ("pair_loss", "by_hand"),
    [
        (hinge, lambda c, j, b: np.maximum(0, 1 - b * (c - j))),
        (ipo, lambda c, j, b: (c - j - 1 / (2 * b)) ** 2),
        (
            variants.nca,
            lambda c, j, b: (
                softplus(-b * c) + softplus(b * c) / 2 + softplus(b * j) / 2
            ),
        ),
        (
            partial(variants.bco, shift=0.5),
            lambda c, j, b: softplus(-(b * c - 0.5)) + softplus(b * j - 0.5),
        ),
        (variants.sppo, lambda c, j, b: (c - 0.5 / b) ** 2 + (j + 0.5 / b) ** 2),
        (variants.apo_zero, lambda c, j, b: 1 - sig(b * c) + sig(b * j)),
        (variants.apo_down, lambda c, j, b: sig(b * c) + 1 - sig(b * (c - j))),
        (
            partial(variants.robust, flipped=0.2),
            lambda c, j, b: (
                (0.8 * softplus(-b * (c - j)) - 0.2 * softplus(b * (c - j))) / 0.6
            ),
        ),
        (
            partial(variants.exo, smoothing=0.2),
            lambda c, j, b: (
                sig(b * (c - j)) * np.log(sig(b * (c - j)) / 0.8)
                + sig(b * (j - c)) * np.log(sig(b * (j - c)) / 0.2)
            ),
        ),
        (
            partial(variants.discopop, temperature=0.5),
            lambda c, j, b: (
                sig(-2 * b * (c - j)) * softplus(-b * (c - j))
                + sig(2 * b * (c - j)) * np.exp(-b * (c - j))
            ),
        ),
    ],
)
def test_by_hand(pair_loss, by_hand):
    close(pair_loss(C, J, beta=0.7), by_hand(np.array(C), np.array(J), 0.7))


def test_smoothing_of_exo_is_where_it_is_least():
    u = np.log(0.8 / 0.2)
    exo = partial(variants.exo, beta=1.0, smoothing=0.2)
    close(exo(jnp.array([u]), jnp.zeros(1)), [0.0])
    close(jax.grad(lambda c: exo(c, jnp.zeros(1)).sum())(jnp.array([u])), [0.0])


def test_optimal_transport_sorts_both_sides():
    margin, ref = jnp.array([3.0, 1.0, 2.0]), jnp.array([0.0, 5.0, 1.0])
    found = variants.aot(margin, ref, beta=0.5, smoothing=0.1)
    differences = jnp.array([1.0, 1.0, -2.0])
    close(found, logistic(differences, jnp.zeros(3), beta=0.5, smoothing=0.1))


def test_links():
    x = jnp.array([-1.0, 2.0])
    assert variants.reverse_kl_link(x) is x
    close(variants.forward_kl_link(x), 1 - np.exp(-np.array(x)))
    close(variants.jensen_shannon_link(x), np.log(2 * sig(np.array(x))))


@pytest.mark.parametrize("pair_loss", PAIR_LOSSES)
def test_huge_ratios_stay_finite(pair_loss):
    for sides in ((60.0, -60.0), (-600.0, 600.0)):
        found = jax.value_and_grad(pair_loss)(*sides)
        assert np.all(np.isfinite(found))


def test_links_of_huge_ratios_stay_finite():
    for link in (variants.forward_kl_link, variants.jensen_shannon_link):
        for x in (-600.0, 600.0):
            assert np.all(np.isfinite(jax.value_and_grad(link)(x)))


@pytest.mark.parametrize("pair_loss", PAIR_LOSSES)
def test_chosen_answers_are_pulled_up_against_rejected_ones(pair_loss):
    """At the reference; DiscoPOP does so beyond the width of its blend."""
    start = 3.0 if pair_loss is variants.discopop else 0.0
    c, j = jax.grad(pair_loss, argnums=(0, 1))(start, 0.0)
    assert c < j


def test_failed_pairs_do_not_matter():
    """NaN in a pair without weight, and metrics over the others."""
    nan = jnp.array([jnp.nan])
    sides = [jnp.array([x]) for x in (-1.0, -2.0, -2.0, -2.5)]
    padded = [jnp.concatenate([x, nan]) for x in sides]
    weights = jnp.array([1.0, 0.0])

    def loss(c, *others):
        loss = preference(c, *others, weights, pair_loss=logistic)
        return loss.value, loss.metrics

    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(*padded)
    close(value, logistic(jnp.float32(1.0), jnp.float32(0.5)))
    assert gradient[1] == 0
    found = {name: float(mean.result()) for name, mean in metrics.items()}
    assert found == {"margin": 0.5, "accuracy": 1.0, "chosen_ratio": 1.0}


LOGP = jnp.array([[-1.0, jnp.nan, -2.0, -4.0], [-1.0, -1.0, jnp.inf, -1.0]])
MASK = jnp.array([[1, 0, 1, 1], [0, 0, 0, 0]], bool)
OTHER = jnp.array([[1, 0, 1], [1, 1, 1]], bool)


@pytest.mark.parametrize(
    ("score", "expected", "gradient"),
    [
        (summed, [-7.0, 0.0], [1, 0, 1, 1]),
        (averaged, [-7 / 3, 0.0], [1 / 3, 0, 1 / 3, 1 / 3]),
        (partial(length_desensitised, share=0.25), [-4.0, 0.0], [1, 0, 1, 0.25]),
        (partial(length_desensitised, share=1.0), [-7.0, 0.0], [1, 0, 1, 1]),
    ],
)
def test_scores_of_answers(variant, score, expected, gradient):
    close(variant(score)(LOGP, MASK, OTHER), expected)
    found = jax.grad(lambda x: score(x, MASK, OTHER).sum())(LOGP)
    close(found, [gradient, [0, 0, 0, 0]])


def test_pairs_without_tokens_have_no_share():
    rejected = jnp.array([[False], [False]])
    close(pair_mean(MASK, rejected), [1.0, 0.0])
    close(pair_mean(MASK, ~rejected), [0.5, 0.5])
    assert not np.any(pair_mean(rejected, rejected))
