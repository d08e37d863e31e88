"""What an environment says of an episode becomes its record, whatever it is."""

import types

import numpy as np
import pytest

from jaxrl.rollout.environment import Judged, Outcome
from jaxrl.rollout.episodes import Job, recorded
from jaxrl.rollout.types import Completion, Problem, Turn

JOB = Job(0, Problem("sum", "1+1", "2"), 0)
SAID = Completion(np.array([1], np.int32), np.zeros(1, np.float32), 0, True)
TURNS = {"policy": (Turn(np.array([1], np.int32), SAID),) * 2}
CYCLE, DEEP = [], []
CYCLE.append(CYCLE)
for _ in range(5000):
    DEEP = [DEEP]


def trace(**judged):
    return traced(Outcome({"policy": Judged(**{"rewards": (1.0,), **judged})}))


def traced(outcome):
    [found] = recorded(JOB, outcome, TURNS, trained=["policy"], channels=1).traces
    return found


@pytest.mark.parametrize(
    ("judged", "rewards", "channels"),
    [
        ({}, [0.0, 1.0], [0, 0]),
        ({"turn_rewards": np.array([0.5, 2.0])}, [0.5, 2.0], [0, 0]),
        ({"channels": np.array([0, 1])}, [0.0, 1.0], [0, 1]),
        ({"turn_rewards": (), "channels": ()}, [0.0, 1.0], [0, 0]),
    ],
)
def test_turns_hold_what_was_said_of_each(judged, rewards, channels):
    found = trace(**judged)
    assert found.failure is None
    assert [turn.reward for turn in found.turns] == rewards
    assert [turn.channel for turn in found.turns] == channels


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        ({"channels": ("a", "b")}, "invalid literal"),
        ({"channels": (float("inf"), 0.0)}, "infinity"),
        ({"turn_rewards": np.ones((2, 2))}, "scalar"),
        ({"rewards": (1e39,)}, "what float32 holds"),
        ({"turn_rewards": (0.0, -1e39)}, "what float32 holds"),
        (
            {"turn_rewards": (0.0, float("nan"))},
            "turn_rewards of policy are [0.0, nan]",
        ),
        ({"penalties": (float("nan"), 0.0)}, "penalties of policy are [nan, 0.0]"),
        ({"anchors": (CYCLE, 0)}, "RecursionError"),
        ({"anchors": (DEEP, 0)}, "RecursionError"),
    ],
)
def test_what_cant_be_used_makes_an_episode_malformed(judged, message):
    found = trace(**judged)
    assert found.failure.kind == "malformed"
    assert message in found.failure.message
    assert (found.turns, found.rewards) == (TURNS["policy"], (0.0,))


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome({"policy": types.SimpleNamespace(rewards=(1.0,))}), "turn_rewards"),
        (Outcome({"policy": Judged((1.0,))}, failure="no database"), "no database"),
        (Outcome({"policy": Judged((1.0,))}, numbers=[("a", 1.0)]), "items"),
    ],
)
def test_an_outcome_of_something_else_makes_an_episode_malformed(outcome, message):
    found = traced(outcome)
    assert found.failure.kind == "malformed"
    assert message in found.failure.message
