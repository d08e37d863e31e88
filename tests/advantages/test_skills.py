"""Skill1 and SIRI: oracles of agentic.md 7 and distillation.md 5."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.skills import (
    clipped_credit,
    gated_weights,
    ndcg,
    rank_gains,
    skill_rewards,
    updated_utility,
    utility_gains,
    utility_gap,
    warm_up,
)
from jaxrl.advantages.steps import trajectory_zscore

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)
UTILITY = jnp.array([[0.9, 0.5, 0.1]])
EVERY = UTILITY > 0


@pytest.mark.parametrize(
    ("gains", "order", "expected"),
    [
        (utility_gains, [2, 1, 0], 0.683911),
        (utility_gains, [1, 0, 2], 0.883341),
        (utility_gains, [0, 1, 2], 1.0),
        (rank_gains, [2, 1, 0], 0.789998),
    ],
)
def test_oracle_of_rankings(variant, gains, order, expected):
    found = variant(ndcg)(gains(UTILITY, EVERY), jnp.array([order]), EVERY)
    close(found, [expected])


def test_rankings_without_choice_are_perfect():
    order = jnp.array([[0, 1, 2]])
    close(ndcg(0 * UTILITY, order, EVERY), [1])
    one = jnp.array([[False, True, False]])
    close(ndcg(utility_gains(UTILITY, one), order, one), [1])


def test_missing_candidates_gain_nothing():
    valid = jnp.array([[True, True, False]])
    gains = utility_gains(jnp.array([[0.5, 0.9, jnp.nan]]), valid)
    close(ndcg(gains, jnp.array([[1, 0, 2]]), valid), [1])
    close(rank_gains(jnp.array([[0.5, 0.1, 0.3]]), valid), [[2, 1, 0]])


def test_oracle_of_three_credits():
    utility = jnp.array([[0.8, 0.1], [0.2, 0.2], [0.8, 0.9], [0.1, 0.2]])
    valid = jnp.array([[True, True], [True, True], [True, False], [True, True]])
    order = jnp.zeros((4, 2), int).at[:, 1].set(1)
    rewards = skill_rewards(jnp.array([1.0, 1, 0, 0]), utility, valid, order)
    close(rewards.distilled, [0.2, 0.8, -0.8, -0.2])
    task, path = jnp.zeros(4, int), jnp.arange(4)
    found = trajectory_zscore(rewards.distilled, task, path)
    close(found, [0.342997, 1.371986, -1.371986, -0.342997])
    close(trajectory_zscore(rewards.used, task, path), [1, 1, -1, -1])
    three = trajectory_zscore(jnp.array([1.0, 1, 1, 0]), task, path)
    close(three, [0.577349, 0.577349, 0.577349, -1.732047])


def test_without_candidates_the_trend_is_zero():
    found = skill_rewards(jnp.ones(1), UTILITY, ~EVERY, jnp.array([[0, 1, 2]]))
    close(found.distilled, [1])
    close(found.ranked, [1])


@pytest.mark.parametrize(
    ("outcomes", "expected"), [([1.0, 0.0], 0.49875), ([0.0, 1.0], 0.50125)]
)
def test_oracle_of_utility(variant, outcomes, expected):
    """Skill 1 is retrieved twice, skill 0 never: its only mention is padding."""
    candidates = jnp.array([[1, 0], [1, 0]])
    valid = jnp.array([[True, False], [True, False]])
    utility = jnp.array([0.5, 0.5])
    found = variant(updated_utility)(utility, candidates, valid, jnp.array(outcomes))
    close(found, [0.5, expected], rtol=1e-6)


def test_oracle_of_lasting_success():
    one = jnp.zeros((45, 1), int)
    found = updated_utility(jnp.array([0.5]), one, one == 0, jnp.ones(45))
    assert 0.95 < found[0] < 0.951


def test_oracle_of_utility_gaps():
    guided = [[1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 1, 1]]
    plain = [[0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]
    outcomes = jnp.array(np.concatenate([guided, plain], 1), jnp.float32)
    used = jnp.repeat(jnp.array([[True, False]] * 3), 4, axis=1)
    valid = jnp.ones_like(used)
    close(utility_gap(outcomes, used, valid), [0.5, -0.25, 0])
    close(utility_gap(outcomes, used, valid & used), [0, 0, 0])
    unfinished = valid.at[0, 2].set(False)
    close(utility_gap(outcomes, used, unfinished), [0.75, -0.25, 0])


def test_oracle_of_internalisation():
    logp = np.log([[0.5, 0.4, 0.8, 0.9], [0.6, 0.7, 0.2, 0.5]])
    gate = jnp.array([[0, 0, 1, 1], [0, 1, 1, 0]], bool)
    credit = clipped_credit(jnp.array([[2.5], [-0.3]]))
    close(credit, [[1], [0]])
    slope = gated_weights(gate) * credit
    close(slope, [[0, 0, 0.25, 0.25], [0, 0, 0, 0]])
    close(-(slope * logp).sum(), 0.082126)


def test_a_closed_gate_weighs_nothing():
    np.testing.assert_array_equal(
        gated_weights(jnp.zeros((2, 3), bool)), np.zeros((2, 3))
    )


def test_oracle_of_the_warm_up():
    found = warm_up(jnp.array([3, 8, 13, 23, 0]), start=3, length=10, peak=0.1)
    close(found, [0, 0.05, 0.1, 0.1, 0])
