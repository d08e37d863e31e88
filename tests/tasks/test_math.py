import threading

import pytest

from jaxrl.rollout.types import Problem
from jaxrl.tasks.math import math_reward

pytest.importorskip("math_verify")


@pytest.mark.parametrize(
    ("answer", "text", "expected"),
    [
        ("3/2", r"hence \boxed{\frac{6}{4}}", 1),
        (r"\frac{3}{2}", "the answer is 1.5", 1),
        (r"$\frac{3}{2}$", r"\boxed{1.4}", 0),
        ("1,000", r"we get 3 and 7, so \boxed{1000}.", 1),
        ("x^2+2x+1", r"\boxed{(x+1)^2}", 1),
        ("x^2+2x+1", r"\boxed{(x-1)^2}", 0),
        (12, "It is 5. No, it is 12.", 1),
        (12, "It is 12. No, it is 5.", 0),
        ("12", "", 0),
        ("12", r"\boxed{", 0),
        ("12", "I do not know", 0),
    ],
)
def test_answers_are_compared_as_expressions(answer, text, expected):
    assert math_reward(Problem("p", "", answer), text) == expected


def test_it_works_off_the_main_thread():
    found = []
    problem = Problem("p", "", "2")
    thread = threading.Thread(
        target=lambda: found.append(math_reward(problem, r"\boxed{1+1}"))
    )
    thread.start()
    thread.join()
    assert found == [1.0]


def test_a_problem_without_an_expression_is_an_error():
    with pytest.raises(ValueError, match="the problem's answer '' holds no expression"):
        math_reward(Problem("p", "", ""), r"\boxed{1}")
