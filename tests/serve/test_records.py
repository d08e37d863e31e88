"""Recorded episodes, from a file to what is trained."""

import numpy as np
import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem, Turn
from jaxrl.serve.records import Drawn, episode_of, record_of
from jaxrl.serve.service import completion_of
from jaxrl.truncation import FULL, Distribution

PROBLEM = Problem("0", "1", "2")
FIRST = Turn(
    np.array([3, 4], np.int32), completion_of([5, 1], [-0.1, -1 / 3], 7, finished=True)
)
SECOND = Turn(
    np.array([3, 4, 5, 1, 6], np.int32), completion_of([7], [-2.0], 7, finished=False)
)
TURNS = [Drawn(FIRST, FULL), Drawn(SECOND, FULL)]


def test_an_episode_is_exactly_what_was_recorded():
    record = record_of("a", TURNS, [0.5], [])
    episode = episode_of(record, PROBLEM, 3)
    [trace] = episode.traces
    assert (episode.group, trace.rewards, trace.failure) == (3, (0.5,), None)
    assert [turn.reward for turn in trace.turns] == [0.0, 0.5]
    for turn, expected in zip(trace.turns, (FIRST, SECOND), strict=True):
        assert turn.prompt.tolist() == expected.prompt.tolist()
        assert turn.completion.tokens.tolist() == expected.completion.tokens.tolist()
        assert turn.completion.logp.tobytes() == expected.completion.logp.tobytes()
        assert turn.completion.version == 7
        assert turn.completion.finished == expected.completion.finished


def test_turns_may_have_rewards_of_their_own():
    record = record_of("a", TURNS, [0.5], [0.25, 0.75])
    [trace] = episode_of(record, PROBLEM, 0).traces
    assert [turn.reward for turn in trace.turns] == [0.25, 0.75]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Distribution(temperature=0.7), "temperature=0.7"),
        (Distribution(top_k=20), "top_k=20"),
        (Distribution(top_p=0.9), "top_p=0.9"),
    ],
)
def test_turns_are_drawn_from_what_is_trained_with(other, told):
    mixed = record_of("a", [TURNS[0], Drawn(SECOND, other)], [0.5], [])
    with pytest.raises(UserError, match=f"turn 2 has drawn_from .*{told}"):
        episode_of(mixed, PROBLEM, 0)
    with pytest.raises(UserError, match="turn 1 has drawn_from"):
        episode_of(mixed, PROBLEM, 0, drawn_from=other)
    alike = record_of("a", [Drawn(FIRST, other)], [0.5], [])
    [trace] = episode_of(alike, PROBLEM, 0, drawn_from=other).traces
    assert trace.failure is None


def test_a_record_with_too_many_rewards_is_counted_and_not_trained():
    episode = episode_of(record_of("a", TURNS[:1], [0.5, 1.0], []), PROBLEM, 0)
    assert episode.traces[0].failure.kind == "malformed"
    assert episode.numbers["episodes_malformed"] == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (record_of("a", TURNS[:1], None, []), "episode a has no reward yet"),
        ({"turns": []}, "needs name, rewards and turns"),
        ({"name": "a", "rewards": 1, "turns": []}, "needs name, rewards and turns"),
        ({"name": "a", "rewards": [1.0], "turns": [{}]}, "a turn can't be read"),
    ],
)
def test_what_is_no_closed_record_is_an_error(record, message):
    with pytest.raises(UserError, match=message):
        episode_of(record, PROBLEM, 0)
