import numpy as np
import pytest

from jaxrl.rollout.filtering import filter_groups, informative
from jaxrl.rollout.types import Episode, Failure, Problem, Trace


def episode(group, *rewards, agent="policy", **trace):
    problem = Problem("p", "", "")
    return Episode(problem, (Trace((), rewards, agent=agent, **trace),), group)


def trained(episodes):
    return [all(trace.trainable for trace in e.traces) for e in episodes]


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([1, 1, 1], False),
        ([-1, 1], True),
        ([0.1 + 0.2, 0.3], False),
        ([3], True),
        ([], False),
    ],
)
def test_a_group_with_spread_or_a_single_sample_is_informative(rewards, expected):
    assert informative(np.array(rewards, float)) is expected


def test_groups_without_spread_are_not_trained_and_are_counted():
    episodes = [episode(g, r) for g, r in [(0, 1), (1, 1), (0, 1), (1, 0), (2, 5)]]
    kept, dropped = filter_groups(episodes, informative)
    assert trained(kept) == [False, True, False, True, True]
    assert dropped == 1
    assert trained(episodes) == [True] * 5
    assert [e.group for e in kept] == [0, 1, 0, 1, 2]


def test_failed_and_untrainable_traces_have_no_say():
    failure = Failure("timeout", "")
    episodes = [
        episode(0, 1.0),
        episode(0, 1.0),
        episode(0, failure=failure),
        episode(0, 9.0, trainable=False),
        episode(1, failure=failure),
    ]
    kept, dropped = filter_groups(episodes, informative)
    assert not any(trained(kept))
    assert dropped == 2


def test_agents_and_channels_are_judged_apart():
    episodes = [
        episode(0, 1.0, 0.0, agent="a"),
        episode(0, 1.0, 1.0, agent="a"),
        episode(0, 2.0, 0.0, agent="b"),
        episode(0, 1.0, 0.0, agent="b"),
    ]
    assert trained(filter_groups(episodes, informative)[0]) == [0, 0, 1, 1]
    assert trained(filter_groups(episodes, informative, channel=1)[0]) == [1, 1, 0, 0]
