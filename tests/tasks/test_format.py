import pytest

from jaxrl.rollout.types import Problem
from jaxrl.tasks.format import single_box, thought_and_answer

PROBLEM = Problem("p", "", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a\nb</think>\n<answer>c</answer>\n", 1),
        ("<think></think><answer></answer>", 1),
        ("<think>a</think> so <answer>c</answer>", 0),
        ("<think>a</think><answer>c</answer> more", 0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0),
        ("<think><answer>a</answer></think><answer>b</answer>", 0),
        ("<answer>c</answer><think>a</think>", 0),
        ("<think>a</think><answer>c", 0),
        ("", 0),
    ],
)
def test_a_thought_and_then_an_answer_and_nothing_else(text, expected):
    assert thought_and_answer(PROBLEM, text) == expected


def test_a_long_malformed_text_is_judged_quickly():
    assert thought_and_answer(PROBLEM, "<think>" * 20_000 + "a" * 200_000) == 0


@pytest.mark.parametrize(("text", "expected"), [(r"\boxed{1}", 1), ("1", 0)])
def test_exactly_one_box(text, expected):
    assert single_box(PROBLEM, text) == expected
    assert single_box(PROBLEM, text + text) == 0
