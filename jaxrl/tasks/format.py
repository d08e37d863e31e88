"""Rewards for the form of a response, whatever it says; for a channel of its own."""

import re

from jaxrl.rollout.types import Problem

_THOUGHT_AND_ANSWER = re.compile(
    r"\s*<think>(?:(?!</?think>|</?answer>).)*</think>"
    r"\s*<answer>(?:(?!</?think>|</?answer>).)*</answer>\s*",
    re.DOTALL,
)


def thought_and_answer(problem: Problem, text: str) -> float:
    """1 for `<think>...</think><answer>...</answer>` and nothing else, else 0.

    >>> thought_and_answer(Problem("p", "", ""), "<think>2</think> <answer>4</answer>")
    1.0

    Args:
      problem: Does not matter.
      text: The response.
    """
    return float(_THOUGHT_AND_ANSWER.fullmatch(text) is not None)


def single_box(problem: Problem, text: str) -> float:
    r"""1 if the response has exactly one `\boxed{`, else 0.

    >>> single_box(Problem("p", "", ""), "so \\boxed{4}")
    1.0

    Args:
      problem: Does not matter.
      text: The response.
    """
    return float(text.count("\\boxed{") == 1)
