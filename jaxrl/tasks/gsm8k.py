"""Numeric answers in the manner of GSM8K."""

import re
from fractions import Fraction

from jaxrl.rollout.types import Problem

_NUMBER = re.compile(r"(?:(?<!\w)[-+])?\$?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)")
_LONGEST = 100
"""Characters of a number; what is longer is no answer, and slow to convert."""


def gsm8k_reward(problem: Problem, text: str) -> float:
    """1 if the response's number equals the problem's, else 0.

    Args:
      problem: `answer` is a number, a text that ends in one, or GSM8K's solution with
        its number after `####`.
      text: The response.

    Raises:
      ValueError: The problem's answer holds no number.
    """
    expected = final_number(str(problem.answer))
    if expected is None:
        raise ValueError(f"the problem's answer {problem.answer!r} holds no number")
    return float(final_number(text) == expected)


def final_number(text: str) -> Fraction | None:
    r"""The first number after the last `####`, or without one the text's last number.

    Commas between digits and dollar signs do not matter, nor do trailing zeros.

    >>> final_number("5 of 9 are left, so #### $1,234.50 in 2 days")
    Fraction(2469, 2)
    >>> final_number("first 3, then -7.") == -7
    True

    Args:
      text: A response or a solution.
    """
    _, marker, tail = text.rpartition("####")
    numbers = _NUMBER.findall(tail if marker else text)
    if not numbers:
        return None
    number = numbers[0] if marker else numbers[-1]
    if len(number) > _LONGEST:
        return None
    return Fraction(number.replace(",", "").replace("$", "").rstrip("."))
