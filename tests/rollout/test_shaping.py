import functools

import numpy as np
import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.shaping import overlong, shape_rewards
from jaxrl.rollout.types import Completion, Episode, Failure, Problem, Trace, Turn


def test_the_penalty_has_the_numbers_of_the_paper():
    lengths = np.array([0, 16384, 17408, 18432, 20480, 30000])
    np.testing.assert_allclose(
        overlong(lengths, limit=20480, buffer=4096), [0, 0, -0.25, -0.5, -1, -1]
    )
    np.testing.assert_allclose(
        overlong(lengths, limit=20480, buffer=4096, scale=0.5),
        [0, 0, -0.125, -0.25, -0.5, -0.5],
    )


@pytest.mark.parametrize("buffer", [0, -1, 11])
def test_a_buffer_outside_of_the_limit_is_an_error(buffer):
    with pytest.raises(UserError, match="buffer is"):
        overlong(np.array([1]), limit=10, buffer=buffer)


def trace(*lengths, **fields):
    turns = [
        Turn(np.ones(50), Completion(np.ones(n), np.ones(n), 0, True)) for n in lengths
    ]
    return Trace(tuple(turns), **fields)


def test_sampled_tokens_of_all_turns_count_and_failures_are_left_alone():
    failed = trace(20, rewards=(), failure=Failure("crash", ""))
    traces = (trace(4, 4, rewards=(1.0, 1.0)), trace(2, rewards=(1.0, 2.0)), failed)
    penalty = functools.partial(overlong, limit=10, buffer=4)
    (shaped,) = shape_rewards([Episode(Problem("p", "", ""), traces, 0)], penalty)
    assert [t.rewards for t in shaped.traces] == [(0.5, 1.0), (1.0, 2.0), ()]
    assert shaped.traces[2] == failed
    (other,) = shape_rewards([shaped], penalty, channel=1)
    assert other.traces[0].rewards == (0.5, 0.5)
