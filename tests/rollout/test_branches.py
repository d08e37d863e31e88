"""Branches of SelSkill: oracles O2 and O3 of agentic 8 (f)."""

import numpy as np
import pytest

from jaxrl.rollout.branches import branch_window, decision_entropy

ROLES = {"U": "user", "A": "assistant", "T": "tool", "S": "system"}


def trained(roles, branch, turns):
    names = [ROLES[x] for x in roles]
    window = branch_window(names, branch, turns=turns)
    return [i for i, used in enumerate(window) if used]


@pytest.mark.parametrize(
    ("branch", "turns", "expected"),
    [
        (4, 3, [5, 8, 10]),
        (4, 1, [5]),
        (4, 0, [5, 8, 10, 12]),
        (5, 1, [5]),
        (0, 1, [1, 3, 5, 8, 10, 12]),
    ],
)
def test_oracle_of_the_window(branch, turns, expected):
    assert trained("UAUAUATUAUAUA", branch, turns) == expected


def test_every_user_message_after_an_answer_ends_a_turn():
    assert trained("SUUAUUA", 1, 2) == [3]
    assert trained("SUUAUA", 1, 2) == [3, 5]


@pytest.mark.parametrize(
    ("rows", "tokens", "expected"),
    [
        ([[0.5, 0.5], [0.9, 0.1]], 10, 0.509115),
        ([[0.5, 0.5], [0.9, 0.1]], 1, 0.693147),
        ([[0.5, 0.3]], 10, 0.707766),
        ([[0.5, 0.0]], 10, 0.346574),
    ],
)
def test_oracle_of_the_entropy(rows, tokens, expected):
    """Not renormalised; tokens that were not returned add nothing."""
    with np.errstate(divide="ignore"):
        logp = np.log(rows)
    np.testing.assert_allclose(
        decision_entropy(logp, tokens=tokens), expected, rtol=1e-5
    )


def test_no_tokens_no_uncertainty():
    assert decision_entropy(np.zeros((0, 5))) == 0
