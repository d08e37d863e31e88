"""Answers that must be given literally."""

from jaxrl.rollout.types import Problem


def exact_reward(problem: Problem, text: str) -> float:
    r"""1 if the response is the problem's answer up to surrounding space, else 0.

    >>> exact_reward(Problem("p", "capital of France?", "Paris"), " Paris\n")
    1.0

    Args:
      problem: `answer` is compared as text.
      text: The response.
    """
    return float(text.strip() == str(problem.answer).strip())
