"""Preference pairs from the rewards of a group."""

from jaxrl.rollout.pairing import best_and_worst
from jaxrl.rollout.types import Episode, Failure, Problem, Trace


def episode(group, *rewards, **trace):
    return Episode(Problem("p", "", ""), (Trace((), rewards, **trace),), group)


def rewards(episodes):
    pairs = best_and_worst(episodes)
    return [(sum(good.rewards), sum(bad.rewards)) for good, bad in pairs]


def test_the_best_of_a_group_is_preferred_to_its_worst():
    found = [(0, 0.5), (1, 3.0), (0, 0.9), (0, 0.1), (1, 2.0)]
    assert rewards([episode(*pair) for pair in found]) == [(0.9, 0.1), (3.0, 2.0)]


def test_a_group_of_equal_rewards_prefers_nothing():
    assert rewards([episode(0, 1.0), episode(0, 1.0), episode(1, 1.0)]) == []


def test_channels_add_up():
    assert rewards([episode(0, 1.0, 0.0), episode(0, 0.0, 3.0)]) == [(3.0, 1.0)]


def test_failed_and_untrainable_samples_take_no_part():
    found = [
        episode(0, 9.0, failure=Failure("error", "")),
        episode(0, 8.0, trainable=False),
        episode(0, 1.0),
        episode(0, 0.0),
    ]
    assert rewards(found) == [(1.0, 0.0)]


def test_of_equal_rewards_the_earlier_sample_is_taken():
    first, second, bad = episode(0, 1.0), episode(0, 1.0), episode(0, 0.0)
    [(good, _)] = best_and_worst([first, second, bad])
    assert good is first.traces[0]
