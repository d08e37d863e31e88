"""Anchors, contexts and returns of environment steps, on the host."""

import numpy as np
import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.anchors import (
    anchor_ids,
    context_ids,
    similar_anchor_ids,
    step_returns,
)
from jaxrl.rollout.turns import turns_as_channels
from jaxrl.rollout.types import Completion, Trace, Turn


def test_equal_states_of_a_task_have_equal_ids():
    image = np.arange(4).reshape(2, 2)
    states = [image, image.copy(), image.reshape(4), {"a": [image]}, {"a": (image,)}]
    assert anchor_ids(states, [0] * 5).tolist() == [0, 0, 1, 2, 2]
    assert anchor_ids(["x", "x", "y"], [0, 1, 0]).tolist() == [0, 1, 2]


def test_similar_states_join_the_first_cluster_that_is_near():
    """The third is near the second, but not near the founder of its cluster."""
    texts = ["aaaa", "aaab", "aabb", "aaaa"]
    found = similar_anchor_ids(texts, [0, 0, 0, 1], threshold=0.75)
    assert found.tolist() == [0, 0, 1, 2]


def test_contexts_stay_within_their_trajectory():
    found = context_ids([0, 5, 1, 1, 0, 1], [0, 1, 0, 1, 2, 2], depth=2)
    assert found.tolist() == [[0, -1], [1, -1], [2, 0], [2, 1], [0, -1], [2, 0]]


def test_oracle_of_returns():
    """Two interleaved trajectories, and an invalid action in the first step."""
    rewards, trajectory = [0.0, 0.0, 10.0, 0.0], [0, 1, 0, 1]
    np.testing.assert_allclose(step_returns(rewards, trajectory), [9.5, 0, 10, 0])
    penalties = [0.1, 0, 0, 0]
    found = step_returns(rewards, trajectory, penalties=penalties)
    np.testing.assert_allclose(found, [9.4, 0, 10, 0])
    found = step_returns([0.0, 0.0, 10.0], [0, 0, 0])
    np.testing.assert_allclose(found, [9.025, 9.5, 10])


def test_rewards_of_turns_follow_those_of_the_trace():
    nothing = np.zeros(0, np.int32)
    turns = tuple(
        Turn(nothing, Completion(nothing, nothing, 0, True), reward=r)
        for r in (1.0, 2.0)
    )
    trace = Trace(turns, rewards=(7.0,))
    assert turns_as_channels(trace, turns=3).rewards == (7.0, 1.0, 2.0, 0.0)
    with pytest.raises(UserError, match=r"turns: 1 is less than the 2"):
        turns_as_channels(trace, turns=1)
