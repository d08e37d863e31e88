"""Contrastive decoding: oracles of multimodal.md 2(f)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.contrast.fusion import agla, kept, m3id, pai, plausible, pnd, vcd

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
OWN = jnp.array([2.0, 1.8, 0.5, -1.0])
POSITIVE = jnp.array([2.5, 1.0, 0.6, -1.0])
NEGATIVE = jnp.array([0.5, 1.9, 0.4, -1.0])
RULES = {
    "pnd": (lambda: pnd(OWN, POSITIVE, NEGATIVE), [0.983043, 0.016957, 0, 0]),
    "release": (
        lambda: kept(2.2 * POSITIVE - 0.4 * NEGATIVE, OWN, share=0.4),
        [0.979367, 0.020633, 0, 0],
    ),
    "vcd": (lambda: vcd(OWN, NEGATIVE), [0.819456, 0.135455, 0.045089, 0]),
    "agla": (lambda: agla(OWN, POSITIVE), [0.960834, 0.039166, 0, 0]),
    "pai": (lambda: pai(OWN, NEGATIVE), [0.528637, 0.368818, 0.102545, 0]),
}


@pytest.mark.parametrize(("rule", "expected"), RULES.values(), ids=RULES)
def test_oracle(rule, expected):
    found = rule()
    close(jax.nn.softmax(found), expected, atol=5e-7)
    np.testing.assert_array_equal(jnp.isfinite(found), np.array(expected) > 0)


def test_oracle_of_scores():
    close(pnd(OWN, POSITIVE, NEGATIVE)[:2], [7.3, 3.24])
    close(pnd(OWN, POSITIVE, NEGATIVE, share=0.0), [7.3, 3.24, 1.66, -2.8])
    close(vcd(OWN, NEGATIVE)[:3], [3.5, 1.7, 0.6])
    close(agla(OWN, POSITIVE, share=0.0), [7, 3.8, 1.7, -3])
    close(pai(OWN, NEGATIVE)[:3], [-0.629564, -0.989564, -2.269564])
    found = m3id(OWN, NEGATIVE, index=10, threshold=0.99)
    close(found, [-0.497979, -1.052223, -2.307942, -3.830083])


def test_a_certain_token_needs_no_image():
    close(m3id(OWN, NEGATIVE, index=10, threshold=0.3), jax.nn.log_softmax(OWN))


def test_cutoff_is_a_share_of_the_best_probability():
    probability = jnp.array([0.5, 0.25, 0.2, 0.05])
    found = plausible(jnp.log(probability), share=0.45)
    assert found.tolist() == [True, True, False, False]


def test_without_views_only_the_cutoff_remains():
    found = pnd(OWN, POSITIVE, NEGATIVE, positive_weight=0.0, negative_weight=0.0)
    close(found, [2.0, 1.8, -np.inf, -np.inf])


def test_equal_views_keep_the_ranking():
    close(pnd(OWN, OWN, OWN, share=0.0), 2.8 * OWN)


def test_constants_do_not_change_probabilities():
    expected = jax.nn.softmax(pnd(OWN, POSITIVE, NEGATIVE))
    found = jax.nn.softmax(pnd(OWN + 3.0, POSITIVE - 5.0, NEGATIVE + 2.0))
    close(found, expected)
