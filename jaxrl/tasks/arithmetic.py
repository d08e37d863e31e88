"""Sums of integers: problems, demonstrations with slips, and their reward."""

import dataclasses
import random
import re
from collections.abc import Callable, Iterable

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem

_FORM = re.compile(r"\d\+\d(\+1)?=\d+(,\d\+\d(\+1)?=\d+)*:\d+")

Solution = Callable[[int, int, int | None], str]
"""Two operands and the column of a slip, or None, to a demonstration's text."""


def sums(
    *, digits: int, train: int, held_out: int, seed: int
) -> tuple[list[Problem], list[Problem]]:
    """Draw different sums for training and for evaluation, such as "37+85=".

    No sum occurs twice, not even with its operands exchanged, so the held-out problems
    are new in every sense.

    Args:
      digits: Of each operand, which does not begin with 0 unless it is 0.
      train: Number of problems to train on.
      held_out: Number of problems to evaluate on.
      seed: Other seeds give other draws.

    Returns:
      Training and held-out problems; `answer` is the sum as text, and `extra` has the
      operands.
    """
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits
    available = (high - low) * (high - low + 1) // 2
    if digits < 1 or train + held_out > available:
        raise UserError(
            f"train={train} and held_out={held_out} need more than the {available} "
            f"different sums of digits={digits}; give more digits or fewer problems"
        )
    draw = random.Random(seed)
    drawn: dict[tuple[int, int], tuple[int, int]] = {}
    while len(drawn) < train + held_out:
        pair = draw.randrange(low, high), draw.randrange(low, high)
        drawn.setdefault((min(pair), max(pair)), pair)
    problems = [_problem(first, second) for first, second in drawn.values()]
    return problems[:train], problems[train:]


def arithmetic_reward(problem: Problem, text: str) -> float:
    """1 if what follows the last colon, or else the whole response, is the answer.

    >>> arithmetic_reward(Problem("p", "37+85=", "122"), "7+5=12,3+8+1=12:122")
    1.0

    Args:
      problem: One of `sums`.
      text: The response; surrounding space does not matter.
    """
    return float(text.rpartition(":")[2].strip() == problem.answer)


def columns_form(problem: Problem, text: str) -> float:
    """1 if the response has the form of `worked_columns`, right or wrong.

    >>> columns_form(Problem("p", "37+85=", "122"), "7+5=12,3+8=11:112")
    1.0

    Args:
      problem: One of `sums`.
      text: The response.
    """
    del problem
    return float(_FORM.fullmatch(text.strip()) is not None)


def columns_right(problem: Problem, text: str) -> float:
    """Share of the columns that are worked out right, in [0, 1]: a score of the steps.

    >>> columns_right(Problem("p", "37+85=", "122", {"operands": (37, 85)}),
    ...     "7+5=12,3+8=11:112")
    0.5

    Args:
      problem: One of `sums`.
      text: The response; columns that are missing or out of place count as wrong.
    """
    first, second = problem.extra["operands"]
    expected = worked_columns(first, second, None)
    wanted, found = (x.partition(":")[0].split(",") for x in (expected, text.strip()))
    right = sum(a == b for a, b in zip(wanted, found, strict=False))
    return right / len(wanted)


def final_answer(first: int, second: int, slip: int | None) -> str:
    """The sum alone.

    >>> final_answer(37, 85, None), final_answer(37, 85, 1)
    ('122', '112')

    Args:
      first: An operand.
      second: An operand.
      slip: Column that loses its carry, or counts one too many without one.
    """
    return str(_slipped_sum(first, second, slip))


def worked_columns(first: int, second: int, slip: int | None) -> str:
    """The sum column by column from the right, then a colon and the result.

    >>> worked_columns(37, 85, None), worked_columns(37, 85, 1)
    ('7+5=12,3+8+1=12:122', '7+5=12,3+8=11:112')

    Args:
      first: An operand.
      second: An operand.
      slip: Column that loses its carry, or counts one too many without one.
    """
    steps, carry = [], 0
    for column in range(max(len(str(first)), len(str(second)))):
        left, right = first // 10**column % 10, second // 10**column % 10
        lost = carry if column == slip else 0
        extra = int(column == slip and not carry)
        total = left + right + carry - lost + extra
        shown = f"{left}+{right}" + ("+1" if carry - lost else "")
        steps.append(f"{shown}={total}")
        carry = total // 10
    return f"{','.join(steps)}:{_slipped_sum(first, second, slip)}"


def demonstrations(
    problems: Iterable[Problem],
    *,
    correct: float,
    seed: int,
    solution: Solution = final_answer,
) -> list[Problem]:
    """Write a text to imitate for each problem, right with a given probability.

    A wrong one has a slip that people make: one column forgets its carry or, in a sum
    that carries nothing, counts one too many.

    Args:
      problems: Of `sums`.
      correct: Probability of a right text.
      seed: Other seeds give other slips.
      solution: Writes the text, `final_answer` or `worked_columns`.

    Returns:
      The problems with the text as `answer`.
    """
    if not 0 <= correct <= 1:
        raise UserError(f"correct is {correct}; give a probability between 0 and 1")
    draw = random.Random(seed)
    written = []
    for problem in problems:
        first, second = problem.extra["operands"]
        slip = draw.choice(_columns_that_slip(first, second))
        right = draw.random() < correct
        text = solution(first, second, None if right else slip)
        written.append(dataclasses.replace(problem, answer=text))
    return written


def _problem(first: int, second: int) -> Problem:
    name = f"{first}+{second}"
    extra = {"operands": (first, second)}
    return Problem(name, f"{name}=", str(first + second), extra)


def _columns_that_slip(first: int, second: int) -> list[int]:
    """Columns that receive a carry; all columns if none does."""
    columns = range(max(len(str(first)), len(str(second))))
    return [c for c in columns if _carry_into(first, second, c)] or list(columns)


def _carry_into(first: int, second: int, column: int) -> bool:
    return first % 10**column + second % 10**column >= 10**column


def _slipped_sum(first: int, second: int, slip: int | None) -> int:
    if slip is None:
        return first + second
    lost = _carry_into(first, second, slip)
    return first + second + (-1 if lost else 1) * 10**slip
