"""What is hidden and filled in: oracles 1 and 6 of multimodal 3 (f)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.diffusion import (
    fill_in,
    fill_schedule,
    guided,
    hidden_at_random,
    hidden_exactly,
    masking_probability,
    stratified_counts,
)

ANSWER = jnp.array([[0, 1, 1, 1, 1], [0, 0, 0, 1, 1]], bool)


@pytest.mark.parametrize(
    ("count", "steps", "expected"),
    [(10, 4, [3, 3, 2, 2]), (3, 8, [1, 1, 1, 0, 0, 0, 0, 0]), (0, 4, [0, 0, 0, 0])],
)
def test_schedule(count, steps, expected):
    assert fill_schedule(jnp.array([count]), steps=steps).tolist() == [expected]


@pytest.mark.parametrize(
    ("first", "draws", "length", "expected"),
    [(3, 4, 8, [3, 5, 7, 1]), (5, 4, 6, [5, 6, 2, 4])],
)
def test_stratified_counts(variant, first, draws, length, expected):
    """Halves go to even numbers."""
    found = variant(partial(stratified_counts, draws=draws, length=length))
    assert found(jnp.int32(first)).tolist() == expected


def test_exactly_so_many_are_hidden_and_every_token_alike():
    noise = jax.random.uniform(jax.random.key(0), (4000, 5))
    answer = jnp.broadcast_to(ANSWER[:1], noise.shape)
    count = jnp.arange(4000) % 5
    hidden = hidden_exactly(noise, count, answer)
    np.testing.assert_array_equal(hidden.sum(1), count)
    assert not np.any(hidden[:, 0])
    np.testing.assert_allclose(hidden.mean(0)[1:], 0.5, atol=0.03)


def test_random_hiding_spares_the_prompt():
    level = masking_probability(jnp.array([0.0, 0.5]), floor=0.1)
    np.testing.assert_allclose(level, [0.1, 0.55], rtol=1e-6)
    noise = jnp.array([[0.0, 0.05, 0.1, 0.2, 0.0], [0.0, 0.0, 0.0, 0.5, 0.6]])
    expected = [[0, 1, 0, 0, 1], [0, 0, 0, 1, 0]]
    assert hidden_at_random(noise, level, ANSWER).astype(int).tolist() == expected


def test_guidance_moves_away_from_what_needs_no_prompt():
    logits, without = jnp.array([1.0, 2.0]), jnp.array([0.0, 3.0])
    assert guided(logits, without, scale=0.0).tolist() == [1.0, 2.0]
    assert guided(logits, without, scale=1.0).tolist() == [2.0, 1.0]


def test_the_most_certain_places_are_filled(variant):
    """Of four open places the two surest, and none that is closed."""
    certainty = jnp.array([[5.0, 3.0, 1.0, 2.0, 4.0]])
    logits = jnp.stack([0 * certainty, certainty], axis=-1)
    open_ = jnp.array([[0, 1, 1, 1, 1]], bool)
    tokens = jnp.full((1, 5), 9)
    found = variant(fill_in)(tokens, logits, open_, jnp.array([2]))
    assert found.tolist() == [[9, 1, 9, 9, 1]]
    assert variant(fill_in)(tokens, logits, open_, jnp.array([5]))[0, 0] == 9
