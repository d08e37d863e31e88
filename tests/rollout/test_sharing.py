"""Samples go where outcomes vary, and what is known can be saved."""

import json

import pytest

from jaxrl.rollout.allocation import multi_round, one_shot
from jaxrl.rollout.sharing import Allocation, Allocator
from jaxrl.rollout.types import Episode, Failure, Problem, Trace

HARD, EASY, MIXED = (Problem(name, "", "") for name in ("hard", "easy", "mixed"))
OUTCOMES = {"hard": [0, 0, 0, 0], "easy": [1, 1, 1, 1], "mixed": [0, 1, 0, 1]}


def outcomes():
    return [
        Episode(problem, (Trace((), (float(reward),)),), 0)
        for problem in (HARD, EASY, MIXED)
        for reward in OUTCOMES[problem.id]
    ]


def allocator(**fields):
    fields = {"lowest": 2, "highest": 12, "refresh_every": 1, **fields}
    return Allocator(Allocation(**fields))


def test_what_nobody_knows_is_shared_alike():
    assert allocator().counts([HARD, EASY, MIXED], 24) == [8, 8, 8]


@pytest.mark.parametrize("rule", [one_shot, multi_round])
def test_the_rest_goes_where_outcomes_vary(rule):
    found = allocator(rule=rule)
    found.record(outcomes())
    counts = found.counts([HARD, EASY, MIXED], 24)
    assert sum(counts) == 24
    assert counts[2] == 12
    assert min(counts) >= 2


def test_priorities_wait_for_their_refresh():
    found = allocator(refresh_every=2)
    found.record(outcomes())
    assert found.counts([HARD, EASY, MIXED], 24) == [8, 8, 8]
    found.record(outcomes())
    assert found.counts([HARD, EASY, MIXED], 24)[2] == 12


def test_a_failed_sample_is_no_outcome():
    found = allocator(initial=4)
    failed = Trace((), (0.0,), failure=Failure("error", ""))
    found.record([Episode(MIXED, (failed,), 0)] * 4)
    state = found.get_state()["statistics"]
    assert state["samples"] == {}


def test_what_is_known_survives_a_file():
    first, second = allocator(), allocator()
    first.record(outcomes())
    second.set_state(json.loads(json.dumps(first.get_state())))
    problems = [MIXED, HARD, EASY]
    assert second.counts(problems, 24) == first.counts(problems, 24)
    assert second.get_state() == first.get_state()
    assert second.counts(problems, 24) != allocator().counts(problems, 24)
