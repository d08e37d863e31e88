"""Tests of `jaxrl.data.prompts`."""

import itertools
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.data.prompts import PromptIterator, fingerprint
from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem

PROBLEMS = [Problem(str(i), f"prompt {i}", i) for i in range(10)]


def take(prompts, steps):
    return [
        [problem.answer for problem in step]
        for step in itertools.islice(prompts, steps)
    ]


def test_every_epoch_holds_every_problem_once_across_steps():
    steps = take(PromptIterator(PROBLEMS, 4, seed=3), 10)
    stream = list(itertools.chain(*steps))
    epochs = [stream[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_depends_on_the_seed_alone():
    first, again, other = (
        take(PromptIterator(PROBLEMS, 5, seed=s), 4) for s in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_a_step_may_be_larger_than_the_data():
    [step] = take(PromptIterator(PROBLEMS[:3], 7, seed=0), 1)
    assert sorted(Counter(step).values()) == [2, 2, 3]


@settings(deadline=None, max_examples=10)
@given(
    count=st.integers(1, 10),
    size=st.integers(1, 5),
    done=st.integers(0, 6),
    seed=st.integers(0, 2**40),
)
def test_a_saved_position_goes_on_exactly(count, size, done, seed):
    prompts = PromptIterator(PROBLEMS[:count], size, seed=seed)
    take(prompts, done)
    state = json.loads(json.dumps(prompts.get_state()))
    expected = take(prompts, 4)
    resumed = PromptIterator(PROBLEMS[:count], size, seed=seed)
    resumed.set_state(state)
    assert take(resumed, 4) == expected
    # Going back in the same process must work as well.
    prompts.set_state(state)
    assert take(prompts, 4) == expected


@pytest.mark.parametrize("done", [1, 2, 4])
def test_a_position_at_the_end_of_an_epoch_goes_on_with_the_next(done):
    prompts = PromptIterator(PROBLEMS, 5, seed=0)
    take(prompts, done)
    resumed = PromptIterator(PROBLEMS, 5, seed=0)
    resumed.set_state(prompts.get_state())
    assert (
        take(resumed, 3) == take(PromptIterator(PROBLEMS, 5, seed=0), done + 3)[done:]
    )


@pytest.mark.parametrize("shards", [2, 3, 6])
def test_processes_share_the_steps_of_one(shards):
    whole = take(PromptIterator(PROBLEMS, 6, seed=5), 7)
    shares = [
        take(PromptIterator(PROBLEMS, 6, seed=5, shard_index=i, shard_count=shards), 7)
        for i in range(shards)
    ]
    assert all(len(step) == 6 // shards for share in shares for step in share)
    for step, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert sorted(step) == sorted(itertools.chain(*parts))


@pytest.mark.parametrize(
    "changed",
    [
        PROBLEMS[:9],
        PROBLEMS[::-1],
        [*PROBLEMS[:9], Problem("9", "another prompt", 9)],
        [*PROBLEMS[:9], Problem("9", [{"role": "user", "content": object()}], 9)],
    ],
)
def test_a_position_in_other_data_is_an_error(changed):
    state = PromptIterator(PROBLEMS, 2, seed=0).get_state()
    with pytest.raises(UserError, match="not those that this run was started with"):
        PromptIterator(changed, 2, seed=0).set_state(state)


def test_the_fingerprint_of_objects_in_messages_is_stable():
    one, two = (
        [Problem("a", [{"role": "user", "content": object()}], 0)] for _ in "ab"
    )
    assert fingerprint(one) == fingerprint(two)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts_per_step": 0}, "prompts_per_step is 0; give a positive multiple"),
        ({"prompts_per_step": 5, "shard_count": 2}, "multiple of the 2 processes"),
        ({"seed": -1}, "seed is -1; give 0 or more"),
        ({"problems": []}, "data.problems is empty"),
    ],
)
def test_impossible_streams_are_errors(arguments, message):
    valid = {"problems": PROBLEMS, "prompts_per_step": 4, "seed": 0}
    with pytest.raises(UserError, match=message):
        PromptIterator(**(valid | arguments))
