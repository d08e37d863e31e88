from fractions import Fraction

import pytest

from jaxrl.rollout.types import Problem
from jaxrl.tasks.gsm8k import final_number, gsm8k_reward


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 18", 18),
        ("#### $1,234.50", Fraction("1234.5")),
        ("1 #### 2 #### 3 and 4", 3),
        ("first 3, then 7.", 7),
        ("it costs -$5", -5),
        ("it costs $-5", -5),
        ("10-3=7 so 10-3", 3),
        ("18.00", 18),
        (".5", Fraction(1, 2)),
        ("1,2,", 12),
        ("none", None),
        ("5 ####", None),
        ("####  none", None),
        ("9" * 5000, None),
        ("", None),
    ],
)
def test_the_final_number(text, number):
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("answer", "text", "expected"),
    [
        ("6*7=<<6*7=42>>42\n#### 42", "It is 42.", 1),
        ("42", "so #### 42.0", 1),
        (42, "42 or 43", 0),
        ("1,234", "$1234", 1),
        ("42", "", 0),
    ],
)
def test_numbers_are_compared_by_value(answer, text, expected):
    assert gsm8k_reward(Problem("p", "", answer), text) == expected


def test_a_problem_without_a_number_is_an_error():
    with pytest.raises(ValueError, match="holds no number"):
        gsm8k_reward(Problem("p", "", "unknown"), "1")
