import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem
from jaxrl.tasks.arithmetic import (
    arithmetic_reward,
    columns_form,
    columns_right,
    demonstrations,
    final_answer,
    sums,
    worked_columns,
)

operand = st.integers(0, 9999)


def unordered(problems):
    return {tuple(sorted(problem.extra["operands"])) for problem in problems}


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_problems_are_right_and_the_split_is_disjoint(digits):
    train, held_out = sums(digits=digits, train=30, held_out=20, seed=3)
    assert (len(train), len(held_out)) == (30, 20)
    assert len(unordered(train) | unordered(held_out)) == 50
    assert len({problem.id for problem in train + held_out}) == 50
    for problem in train + held_out:
        first, second = map(
            int, re.fullmatch(r"(\d+)\+(\d+)=", problem.prompt).groups()
        )
        assert problem.answer == str(first + second)
        assert len(str(first)) == len(str(second)) == digits


def test_the_seed_decides():
    draw = {"digits": 2, "train": 9, "held_out": 9}
    assert sums(**draw, seed=1) == sums(**draw, seed=1) != sums(**draw, seed=2)


def test_all_sums_can_be_drawn_and_no_more():
    train, held_out = sums(digits=1, train=50, held_out=5, seed=0)
    assert len(unordered(train + held_out)) == 55
    with pytest.raises(UserError, match="more than the 55 different sums of digits=1"):
        sums(digits=1, train=50, held_out=6, seed=0)
    with pytest.raises(UserError, match="digits=0"):
        sums(digits=0, train=1, held_out=1, seed=0)


def test_only_the_answer_is_rewarded():
    [problem], _ = sums(digits=2, train=1, held_out=0, seed=0)
    for text in (problem.answer, f" {problem.answer}\n", f"1+1=3:{problem.answer}"):
        assert arithmetic_reward(problem, text) == 1
    for text in ("", "0" + problem.answer, problem.answer + "0", f"{problem.answer}:"):
        assert arithmetic_reward(problem, text) == 0


@given(operand, operand, st.one_of(st.none(), st.integers(0, 3)))
def test_worked_columns_lead_to_the_answer_they_state(first, second, slip):
    width = max(len(str(first)), len(str(second)))
    if slip is not None and slip >= width:
        slip = None
    steps, _, answer = worked_columns(first, second, slip).rpartition(":")
    totals = [int(step.rpartition("=")[2]) for step in steps.split(",")]
    assert len(totals) == width
    read = [total % 10 for total in totals[:-1]] + [totals[-1]]
    assert sum(digit * 10**i for i, digit in enumerate(read)) == int(answer)
    assert answer == final_answer(first, second, slip)
    assert (int(answer) == first + second) == (slip is None)
    if slip is None:
        for step in steps.split(","):
            terms, total = step.split("=")
            assert sum(map(int, terms.split("+"))) == int(total)


@pytest.mark.parametrize("solution", [final_answer, worked_columns])
@pytest.mark.parametrize("correct", [0.0, 0.6, 1.0])
def test_demonstrations_are_right_as_often_as_asked(correct, solution):
    problems, _ = sums(digits=2, train=2000, held_out=0, seed=0)
    written = demonstrations(problems, correct=correct, seed=1, solution=solution)
    assert [p.prompt for p in written] == [p.prompt for p in problems]
    right = [
        arithmetic_reward(problem, demonstration.answer)
        for problem, demonstration in zip(problems, written, strict=True)
    ]
    # Four standard deviations of a mean of 2000.
    assert (
        abs(sum(right) / 2000 - correct) <= 4 * (correct * (1 - correct) / 2000) ** 0.5
    )
    again = demonstrations(problems, correct=correct, seed=1, solution=solution)
    assert again == written


def test_a_slip_forgets_a_carry_where_there_is_one():
    problems, _ = sums(digits=2, train=500, held_out=0, seed=0)
    for problem, wrong in zip(
        problems, demonstrations(problems, correct=0.0, seed=0), strict=True
    ):
        first, second = problem.extra["operands"]
        error = int(wrong.answer) - first - second
        assert error == -10 if first % 10 + second % 10 >= 10 else error in (1, 10)


@pytest.mark.parametrize("correct", [-0.1, 1.5])
def test_a_probability_outside_of_its_range_is_an_error(correct):
    with pytest.raises(UserError, match="correct is"):
        demonstrations([], correct=correct, seed=0)


@pytest.mark.parametrize(
    ("text", "form", "right"),
    [
        ("7+5=12,3+8+1=12:122", 1.0, 1.0),
        (" 7+5=12,3+8+1=12:999 ", 1.0, 1.0),
        ("7+5=12,3+8=11:112", 1.0, 0.5),
        ("3+8=11,7+5=12:122", 1.0, 0.0),
        ("7+5=12", 0.0, 0.5),
        ("7+5=12,3+8+1=12,0+0=0:122", 1.0, 1.0),
        (":122", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_form_and_steps_are_judged_apart_from_the_answer(text, form, right):
    problem = Problem("p", "37+85=", "122", {"operands": (37, 85)})
    assert columns_form(problem, text) == form
    assert columns_right(problem, text) == right
