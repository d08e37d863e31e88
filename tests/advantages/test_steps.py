"""GiGPO and HGPO: oracles of agentic.md 2.3 and distillation.md 1.7."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.groups import group_centred, group_normalised
from jaxrl.advantages.steps import (
    context_credit,
    episode_credit,
    first_of,
    joint,
    step_advantages,
    step_credit,
    trajectory_zscore,
)
from jaxrl.advantages.zscore import centre
from jaxrl.types import Steps

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)

# Episode A: rewards 0, 10 in states 0, 1; episode B: 0, 0 in states 0, 2.
REWARDS = jnp.array([10.0, 10.0, 0.0, 0.0])
STEPS = Steps(
    anchor=jnp.array([0, 1, 0, 2]),
    returns=jnp.array([9.5, 10.0, 0.0, 0.0]),
    trajectory=jnp.array([0, 0, 1, 1]),
)
TASK = jnp.zeros(4, int)


def test_joint_ids_tell_pairs_apart(variant):
    first, second = jnp.array([3, 3, 1, 3, 1]), jnp.array([0, 7, 0, 0, 7])
    found = variant(joint)(first, second)
    assert found.tolist() == [2, 3, 0, 2, 1]


def test_first_of_trajectories():
    found = first_of(jnp.array([2, 0, 2, 0, 4]))
    assert found.tolist() == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("scaled", "expected"),
    [(True, [1.573132, 0.866025, -1.573132, -0.866025]), (False, [9.75, 5, -9.75, -5])],
)
def test_oracle_of_two_episodes(variant, scaled, expected):
    found = variant(partial(step_advantages, scaled=scaled))(REWARDS, STEPS, TASK)
    close(found, expected)


def test_oracle_of_the_two_parts():
    every = TASK == 0
    episode = episode_credit(REWARDS, every, TASK, num_groups=1)
    close(episode, [0.866025, 0.866025, -0.866025, -0.866025])
    step = step_credit(STEPS.returns, every, STEPS.anchor, TASK)
    close(step, [0.707107, 0, -0.707107, 0])


def test_oracle_of_the_length_effect():
    rewards = jnp.array([10.0, 0.0, 0.0, 0.0])
    trajectory = jnp.array([0, 1, 1, 1])
    credit = partial(episode_credit, rewards, group=TASK, num_groups=1)
    close(credit(TASK == 0), [1.5, -0.5, -0.5, -0.5])
    close(credit(first_of(trajectory)), [0.707107, *[-0.707107] * 3])


def test_oracle_of_an_invalid_action():
    scores = jnp.array([9.9, 10.0, 0.0, 0.0])
    found = episode_credit(scores, TASK == 0, TASK, num_groups=1)
    close(found, [0.857300, 0.874707, -0.866003, -0.866003])


@pytest.mark.parametrize(
    ("alike", "scaled", "expected"),
    [
        (True, False, [9.5125, 9.75, 5, -9.5125, -9.75, -5, -5]),
        (
            False,
            False,
            [
                10.226786,
                10.464286,
                5.714286,
                -8.798214,
                -9.035714,
                -4.285714,
                -4.285714,
            ],
        ),
        (
            False,
            True,
            [1.776151, 1.776151, 1.069045, -1.508891, -1.508891, -0.801784, -0.801784],
        ),
    ],
)
def test_oracle_of_episodes_of_unequal_length(alike, scaled, expected):
    steps = Steps(
        anchor=jnp.array([0, 1, 2, 0, 1, 3, 4]),
        returns=jnp.array([9.025, 9.5, 10, 0, 0, 0, 0]),
        trajectory=jnp.array([0, 0, 0, 1, 1, 1, 1]),
    )
    rewards, group = jnp.repeat(jnp.array([10.0, 0.0]), jnp.array([3, 4])), TASK[:1]
    found = step_advantages(
        rewards, steps, jnp.repeat(group, 7), scaled=scaled, episodes_alike=alike
    )
    close(found, expected)


@pytest.mark.parametrize("alike", [False, True])
def test_turns_of_a_sequence_are_steps(alike):
    """The same two episodes, one sequence each, and a third that made one step."""
    flat = Steps(
        anchor=jnp.array([0, 1, 0, 2, 1]),
        returns=jnp.array([9.5, 10.0, 0.0, 0.0, 4.0]),
        trajectory=jnp.array([0, 0, 1, 1, 2]),
    )
    rewards = jnp.array([10.0, 10.0, 0.0, 0.0, 4.0])
    table = Steps(
        anchor=jnp.array([[0, 1], [0, 2], [1, -1]]),
        returns=jnp.array([[9.5, 10.0], [0.0, 0.0], [4.0, jnp.nan]]),
    )
    credit = partial(step_advantages, episodes_alike=alike)
    expected = credit(rewards, flat, jnp.zeros(5, int))
    found = credit(rewards[jnp.array([0, 2, 4])], table, jnp.zeros(3, int))
    close(found.reshape(-1)[:5], expected)
    assert found[2, 1] == 0


@pytest.mark.parametrize(
    ("scaled", "grpo"), [(True, group_normalised), (False, group_centred)]
)
def test_without_step_credit_one_step_each_is_grpo(scaled, grpo):
    rewards = jnp.array([0.3, 1.0, -2.0, 0.5, 0.1])
    group = jnp.array([0, 1, 0, 1, 2])
    steps = Steps(anchor=jnp.zeros(5, int), returns=rewards)
    found = step_advantages(rewards, steps, group, step_weight=0.0, scaled=scaled)
    close(found, grpo(rewards, group, num_groups=5))


def test_equal_episodes_are_worth_nothing_whatever_their_penalties():
    rewards = jnp.array([10.0, 9.9, 10.0])
    counted = jnp.array([True, False, True])
    found = episode_credit(rewards, counted, jnp.zeros(3, int), num_groups=1)
    np.testing.assert_array_equal(found, np.zeros(3))


def test_steps_of_other_tasks_are_not_compared():
    returns, anchor = jnp.array([1.0, 5.0]), jnp.zeros(2, int)
    found = step_credit(returns, anchor == 0, anchor, jnp.array([0, 1]))
    np.testing.assert_array_equal(found, np.zeros(2))


def test_trajectories_count_once(variant):
    rewards = jnp.array([1.0, 0.0, 0.0, 1.0, 1.0])
    trajectory = jnp.array([0, 1, 2, 0, 4])
    group = jnp.array([0, 0, 0, 0, 0])
    found = variant(trajectory_zscore)(rewards, group, trajectory)
    close(found, [1, -1, -1, 1, 1])


def test_longer_contexts_weigh_more():
    """Level 1 compares all three, level 2 the first two: weights 2 and 3."""
    returns = jnp.array([3.0, 1.0, 2.0])
    contexts = jnp.array([[0, 0], [0, 0], [0, -1]])
    credit = partial(context_credit, returns, contexts, jnp.zeros(3, int))
    found = credit(normalise=centre, eps=0.0)
    close(found, [1.0, -1.0, 0.0])
    base = jnp.array([4.0, 0.0, 4.0])
    found = credit(normalise=centre, eps=0.0, base=base)
    close(found, [(4 + 2 + 3) / 6, -1, 4])
    found = credit(normalise=centre, eps=0.0, base=base, power=2.0)
    close(found, [(4 + 4 + 9) / 14, -1, 4])
