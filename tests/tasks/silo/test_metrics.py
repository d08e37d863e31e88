"""How runs go wrong, each way by hand."""

import pytest

from jaxrl.rollout.chat import Reply
from jaxrl.tasks.silo.board import Transfer
from jaxrl.tasks.silo.metrics import (
    Failings,
    communication_density,
    coordination_cost,
    cost_of,
    failings_of,
    has_leader,
    token_consumption,
)
from tests.tasks.silo.teams import begun, call, calls, drawn

WAIT, RECEIVE = call("wait"), call("receive_messages")


def submit(answer):
    return call("submit_result", answer=answer)


def send(target):
    return call("send_message", target_id=target, content="")


def failings(task, agents, *steps):
    run = begun(task, agents)
    for replies in steps:
        run.step(dict(enumerate(replies)))
    return failings_of(run)


def exchanged(first, second):
    """Two agents tell each other everything, then submit."""
    return [send(1), send(0)], [RECEIVE, RECEIVE], [submit(first), submit(second)]


TRUTH = drawn(2)["I-01"].expected[0]
SUMS = drawn(2)["II-11"].expected


@pytest.mark.parametrize(
    ("task", "steps", "expected"),
    [
        ("I-01", exchanged(TRUTH, f"{TRUTH}"), Failings(False, False, False, False)),
        (
            "I-01",
            exchanged(TRUTH, float(TRUTH)),
            Failings(False, False, False, False),
        ),
        ("I-01", exchanged(TRUTH, 3), Failings(False, True, True, False)),
        ("I-01", exchanged(3, 3), Failings(False, False, True, False)),
        ("I-01", [[submit(TRUTH)] * 2], Failings(True, False, False, False)),
        ("I-01", [[submit(1), submit(2)]], Failings(True, True, False, False)),
        ("II-11", exchanged(*SUMS), Failings(False, False, False, False)),
        ("II-11", [[submit(SUMS[0]), WAIT]], Failings(False, False, False, False)),
        ("II-11", [[WAIT, submit(SUMS[1])]], Failings(True, False, False, False)),
        ("I-01", [[send(1), WAIT]] * 3, Failings(False, False, False, True)),
    ],
)
def test_failings_are_told_apart(task, steps, expected):
    assert failings(task, 2, *steps) == expected


def test_what_is_submitted_with_a_read_was_not_yet_informed():
    steps = [[send(1), WAIT], [WAIT, calls(RECEIVE, submit(TRUTH))]]
    assert failings("I-01", 2, *steps).premature


@pytest.mark.parametrize(
    ("targets", "leads"), [([], False), ([0, 1, 2], False), ([0, 0, 1], True)]
)
def test_a_leader_receives_more_than_others(targets, leads):
    assert has_leader([Transfer(1, 3, target) for target in targets], 3) is leads


def test_tokens_are_counted_for_each_round():
    run = begun("I-01", 2)
    for tokens in (10, 20):
        said = [Reply("", WAIT.tool_calls, 3 * tokens, tokens) for _ in range(2)]
        run.step(dict(enumerate(said)))
    cost = cost_of(run)
    assert (cost.prompt_tokens, cost.completion_tokens) == (180, 60)
    assert (cost.tokens_paper, cost.tokens_code) == (30, 120)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (token_consumption(5, 0), 0),
        (communication_density(5, 1), 0),
        (communication_density(50, 100), 50 / 9900),
        (coordination_cost(82.0, 96.7), 0.15202),
        (coordination_cost(0.5, 0.0), None),
        (coordination_cost(None, 0.5), None),
    ],
)
def test_metrics_by_hand(found, expected):
    assert found == pytest.approx(expected, abs=1e-5)
