"""Laws as functions of a case: all are there, and tell a broken method from others."""

import dataclasses

import pytest

from jaxrl.methods.grpo import Grpo
from jaxrl.methods.sft import Sft
from tests.laws import test_laws
from tests.laws.cases import Case
from tests.laws.verdicts import laws, verdict

LAWS = dict(laws())


class Doubled(Grpo):
    """Twice the gradient that every method has on fresh data."""

    def loss(self, scores, batch, credit):
        return super().loss(
            scores, batch, dataclasses.replace(credit, weights=2 * credit.weights)
        )


def test_every_law_is_there_with_each_of_its_parameters():
    tests = [name for name in vars(test_laws) if name.startswith("test_")]
    titles = [name.removeprefix("test_").replace("_", " ") for name in tests]
    assert {name.partition(" (")[0] for name in LAWS} == set(titles)
    assert {"huge ratios stay finite (-1)", "huge ratios stay finite (1)"} < set(LAWS)


@pytest.mark.parametrize(
    ("method", "name", "expected"),
    [
        (Grpo(), "slope is one at ratio one", "holds"),
        (Doubled(), "slope is one at ratio one", "fails: AssertionError"),
        (Sft(), "groups of equal rewards get exactly nothing", "does not apply: "),
        (Grpo(), "micro batches add up (2)", "holds"),
    ],
)
def test_a_verdict_says_what_came_of_a_law(method, name, expected):
    assert verdict(LAWS[name], Case(method)).startswith(expected)
