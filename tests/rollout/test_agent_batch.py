"""Turns as sequences and as steps, against values worked out by hand."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from jaxrl.methods.gigpo import GiGpo
from jaxrl.methods.hipif import Hipif
from jaxrl.rollout.agent_batch import agent_batch
from jaxrl.rollout.anchors import similar_anchor_ids
from jaxrl.rollout.batching import Packed, Rows
from jaxrl.rollout.environment import Environment, plain
from jaxrl.rollout.types import Completion, Episode, Failure, Problem, Trace, Turn

APART = Environment(plain(None), max_turns=3, turns_apart=True)
TOGETHER = dataclasses.replace(APART, turns_apart=False)


def turn(prompt, sampled, reward, anchor, channel=0, penalty=0.0):
    drawn = Completion(
        np.array(sampled, np.int32), np.full(len(sampled), -1.0, np.float32), 5, True
    )
    return Turn(np.array(prompt, np.int32), drawn, reward, channel, anchor, penalty)


def episode(*turns, reward, group=0, **fields):
    return Episode(Problem("", "", ""), (Trace(turns, (reward,), **fields),), group, {})


# Oracle O1 of GiGPO: rewards [0, 10] in states s0, s1, and none in s0, s2.
EPISODES = [
    episode(
        turn([1], [2, 3], 0.0, "s0", 1),
        turn([1, 2, 3, 4], [5], 10.0, "s1"),
        reward=10.0,
    ),
    episode(turn([1], [6], 0.0, "s0"), turn([1, 6, 4], [], 0.0, "s2"), reward=0.0),
]


def test_turns_share_a_sequence_as_long_as_prompts_extend_each_other():
    batch = agent_batch(EPISODES, layout=Rows(4, (8,)), part=TOGETHER)
    assert batch.tokens[0].tolist() == [1, 2, 3, 4, 5, 0, 0, 0]
    assert batch.turn[0].tolist() == [-1, 0, 0, -1, 1, -1, -1, -1]
    assert batch.channel[0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert batch.steps.trajectory.tolist() == [0, 1, 2, 3]
    assert batch.steps.anchor.tolist() == [
        [0, 1, -1],
        [0, -1, -1],
        [-1, -1, -1],
        [-1, -1, -1],
    ]
    np.testing.assert_allclose(batch.steps.returns[0], [9.5, 10.0, 0.0])


def test_turns_apart_are_sequences_of_one_trajectory():
    batch = agent_batch(EPISODES, layout=Rows(6, (8,)), part=APART)
    assert batch.tokens[1].tolist() == [1, 2, 3, 4, 5, 0, 0, 0]
    assert batch.mask.sum(1).tolist() == [2, 1, 1, 0, 0, 0]
    assert batch.steps.trajectory.tolist() == [0, 0, 2, 2, 4, 5]
    assert batch.steps.anchor.tolist() == [0, 1, 0, -1, -1, -1]
    np.testing.assert_allclose(batch.steps.returns, [9.5, 10, 0, 0, 0, 0])
    assert batch.rewards[:4, 0].tolist() == [10, 10, 0, 0]


@pytest.mark.parametrize("part", [APART, TOGETHER])
@pytest.mark.parametrize("layout", [Rows(8, (8,)), Packed(4, 16, 8)])
def test_gigpo_finds_its_oracle_in_either_layout(part, layout):
    """A = [1.573132, .866025, -1.573132, -.866025] for the four turns."""
    second = turn([1, 6, 4], [7], 0.0, "s2")
    trace = dataclasses.replace(
        EPISODES[1].traces[0], turns=(EPISODES[1].traces[0].turns[0], second)
    )
    episodes = [EPISODES[0], dataclasses.replace(EPISODES[1], traces=(trace,))]
    batch = agent_batch(episodes, layout=layout, part=part)
    credit = GiGpo(kl_coef=0.0).credit(batch)
    found = {
        int(t): float(a)
        for t, a in zip(
            batch.tokens[batch.mask],
            np.asarray(credit.advantages)[batch.mask],
            strict=True,
        )
    }
    expected = {2: 1.573132, 3: 1.573132, 5: 0.866025, 6: -1.573132, 7: -0.866025}
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_penalty_is_of_its_own_step_alone():
    """Oracle O3 of GiGPO: the first action is invalid."""
    first, second = (episode.traces[0] for episode in EPISODES)
    invalid = dataclasses.replace(first.turns[0], penalty=0.1)
    turns = (invalid, first.turns[1])
    episodes = [
        dataclasses.replace(
            EPISODES[0], traces=(dataclasses.replace(first, turns=turns),)
        ),
        episode(second.turns[0], turn([1, 6, 4], [7], 0.0, "s2"), reward=0.0),
    ]
    batch = agent_batch(episodes, layout=Rows(4, (8,)), part=APART)
    np.testing.assert_allclose(batch.rewards[:, 0], [9.9, 10, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(batch.steps.returns, [9.4, 10, 0, 0], rtol=1e-6)
    credit = GiGpo(kl_coef=0.0, step_weight=0.0).credit(batch)
    found = np.asarray(credit.advantages).max(1) + np.asarray(credit.advantages).min(1)
    expected = [0.857300, 0.874707, -0.866003, -0.866003]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    together = agent_batch(episodes, layout=Rows(2, (8,)), part=TOGETHER)
    np.testing.assert_allclose(together.rewards[:, 0], [9.9, 0], rtol=1e-6)


def test_hipif_finds_its_oracle_in_the_step_layout():
    """Oracle O1: S = [1, .9, 1, -.1, 0] for the steps of two trajectories."""
    penalties = ((0.0, 0.1, 0.0), (0.1, 0.0))
    episodes = [
        episode(
            *(turn([1], [2 + step], 0.0, None, 0, p) for step, p in enumerate(own)),
            reward=outcome,
        )
        for own, outcome in zip(penalties, (1.0, 0.0), strict=True)
    ]
    batch = agent_batch(episodes, layout=Rows(5, (4,)), part=APART)
    scores = [1, 0.9, 1, -0.1, 0]
    np.testing.assert_allclose(batch.rewards[:, 0], scores, rtol=1e-6)
    credit = Hipif(kl_coef=0.0).credit(batch)
    expected = [0.879295, 0.679455, 0.879295, -1.318943, -1.119103]
    found = np.asarray(credit.advantages)[batch.mask]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_failed_and_untrained_traces_take_no_part():
    failed = episode(
        turn([1], [2], 0.0, None), reward=0.0, failure=Failure("error", "")
    )
    silent = episode(reward=0.0, failure=Failure("error", ""))
    frozen = episode(turn([1], [2], 0.0, None), reward=1.0, trainable=False)
    episodes = [failed, silent, frozen, *EPISODES]
    batch = agent_batch(episodes, layout=Rows(3, (8,)), part=TOGETHER)
    assert batch.mask.sum(1).tolist() == [0, 3, 1]
    assert batch.steps.anchor[0].tolist() == [-1, -1, -1]
    assert batch.group[0] not in batch.group[1:]


def test_rewards_of_turns_may_be_channels():
    part = dataclasses.replace(TOGETHER, turns_as_channels=True)
    batch = agent_batch(EPISODES, layout=Rows(2, (8,)), part=part)
    assert batch.rewards[0].tolist() == [10.0, 0.0, 10.0, 0.0]


def test_penalties_of_turns_go_to_their_channels():
    part = dataclasses.replace(TOGETHER, turns_as_channels=True)
    [one] = EPISODES[0].traces
    turns = (one.turns[0], dataclasses.replace(one.turns[1], penalty=0.5))
    penalised = dataclasses.replace(
        EPISODES[0], traces=(dataclasses.replace(one, turns=turns),)
    )
    batch = agent_batch([penalised], layout=Rows(1, (8,)), part=part)
    assert batch.rewards[0].tolist() == [10.0, 0.0, 9.5, 0.0]


def test_similar_states_can_be_compared():
    alike = partial(similar_anchor_ids, threshold=0.5)
    part = dataclasses.replace(APART, alike=alike)
    batch = agent_batch(EPISODES, layout=Rows(4, (8,)), part=part)
    assert batch.steps.anchor.tolist() == [0, 0, 0, -1]
