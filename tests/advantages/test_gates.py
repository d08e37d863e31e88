"""Process-gated rewards: oracles 1 and 2 of multimodal 1(f)."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.gates import (
    floor_gate,
    gated_reward,
    hard_gate,
    mean_process,
    min_process,
    open_gate,
    product_process,
)
from jaxrl.advantages.groups import group_normalised

SCORES = jnp.array([[1, 1, 1, 1], [1, 0, 0, 1], [9, 9, 9, 9], [1, 1, 0, 9]], float)
STEPS = jnp.array([4, 4, 0, 3])
VALID = jnp.arange(4)[None, :] < STEPS[:, None]
ANSWER, FORM = jnp.array([1.0, 1, 1, 0]), jnp.ones(4)


def test_oracle_from_steps_to_advantages():
    process = mean_process(SCORES, VALID)
    np.testing.assert_allclose(process, [1, 0.5, 0, 2 / 3], rtol=1e-6)
    rewards = gated_reward(ANSWER, FORM, process)
    np.testing.assert_allclose(rewards, [1, 0.5, 0, 0.0666667], atol=1e-6)
    advantages = group_normalised(rewards, jnp.zeros(4, int), num_groups=1, ddof=0)
    expected = [1.519840, 0.270657, -0.978527, -0.811970]
    np.testing.assert_allclose(advantages, expected, atol=2e-6)


def test_right_answers_with_unequal_steps_still_differ():
    rewards = jnp.array([1, 0.5, 1, 1])
    advantages = group_normalised(rewards, jnp.zeros(4, int), num_groups=1, ddof=0)
    expected = [0.577348, -1.732043, 0.577348, 0.577348]
    np.testing.assert_allclose(advantages, expected, atol=2e-6)


def test_wrong_format_costs_its_share():
    found = gated_reward(jnp.ones(1), jnp.zeros(1), jnp.ones(1))
    np.testing.assert_allclose(found, [0.9], rtol=1e-6)


@pytest.mark.parametrize(
    ("scores", "expected"), [([1], 0.5), ([], 0), ([1, 0, 1], 2 / 3)]
)
def test_missing_steps_count_as_wrong(scores, expected):
    padded = jnp.array([scores + [1] * (4 - len(scores))], float)
    valid = jnp.arange(4)[None, :] < len(scores)
    np.testing.assert_allclose(
        mean_process(padded, valid, min_steps=2), [expected], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("process", "expected"), [(min_process, 0.5), (product_process, 0.25)]
)
def test_strict_scores_read_only_valid_steps(process, expected):
    scores = jnp.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.0], [1.0, 1.0, 1.0]])
    valid = jnp.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    np.testing.assert_allclose(process(scores, valid, min_steps=2), [expected, 0, 0])
    assert process(scores, valid)[2] == 0


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (hard_gate, [0, 1, 1]),
        (partial(hard_gate, threshold=0.6), [0, 0, 1]),
        (floor_gate, [0.1, 0.5, 1]),
        (open_gate, [1, 1, 1]),
    ],
)
def test_gates(gate, expected):
    process, one = jnp.array([0.0, 0.5, 1.0]), jnp.ones(3)
    found = gated_reward(one, one, process, gate=gate)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
