"""DoLa: divergence, choice of the layer, scoring of a text."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.contrast.layers import dola, dola_logp, dola_static, layer_divergence

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
FINAL = jnp.log(jnp.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]))
EARLY = jnp.log(
    jnp.array(
        [
            [[0.6, 0.3, 0.1], [0.6, 0.2, 0.2]],
            [[0.1, 0.3, 0.6], [0.2, 0.2, 0.6]],
        ]
    )
)


def test_divergence_is_that_of_jensen_and_shannon():
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])
    m = (p + q) / 2
    expected = (p * np.log(p / m)).sum() / 2 + (q * np.log(q / m)).sum() / 2
    close(layer_divergence(FINAL, EARLY)[:, 0], [0, expected])
    far = jnp.array([0.0, -60.0])
    close(layer_divergence(far, -far[None] - 60.0), [np.log(2)])


def test_each_position_takes_the_layer_that_differs_most(variant):
    scores, layer = variant(dola)(FINAL, EARLY)
    assert layer.tolist() == [1, 0]
    close(scores[0], np.log([6, 1, 1 / 6]))
    close(scores[1], np.log([1 / 3, 1, 3]))
    close(dola_static(FINAL, EARLY[1])[0], scores[0])


def test_implausible_tokens_are_ruled_out():
    scores, _ = dola(FINAL, EARLY, share=0.4)
    assert jnp.isfinite(scores).tolist() == [[True, True, False], [False, False, True]]


@pytest.mark.parametrize("normalised", [True, False])
def test_texts_are_scored_token_by_token(normalised):
    scores = np.log([[6, 1, 1 / 6], [1, 1, 1]])
    if normalised:
        scores = jax.nn.log_softmax(scores)
    options = {"share": 0.4, "normalised": normalised, "implausible": -50.0}
    found = dola_logp(FINAL, EARLY[1], jnp.array([1, 2]), **options)
    close(found, [scores[0, 1], scores[1, 2]])
    found = dola_logp(FINAL, EARLY[1], jnp.array([2, 1]), **options)
    close(found, [-50, -50])
