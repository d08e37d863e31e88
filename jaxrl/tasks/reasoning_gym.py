"""Tasks of the reasoning-gym library, scored by their own scorers."""

import functools
import re
from collections.abc import Callable
from typing import Any

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem

WORKER_IMPORTS = ("reasoning_gym",)

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def reasoning_gym_reward(problem: Problem, text: str) -> float:
    """The task's own score of the response, usually 0 to 1, often with partial credit.

    The answer is what the last `<answer>` tag holds, or else the whole response.

    Args:
      problem: `extra["entry"]` is the library's entry, as `jaxrl.data.sources` has it;
        its metadata names the task.
      text: The response.
    """
    entry = problem.extra["entry"]
    tagged = _ANSWER.findall(text)
    answer = tagged[-1] if tagged else text
    score = _scorer(entry["metadata"]["source_dataset"])
    return float(score(answer.strip(), entry))


@functools.cache
def _scorer(task: str) -> Callable[[str, dict[str, Any]], float]:
    try:
        from reasoning_gym.factory import get_score_answer_fn
    except ImportError as error:
        raise UserError(
            "reasoning-gym is not installed; install the extra: "
            "pip install 'jaxrl[tasks]'"
        ) from error
    # The library declares that its scorers take no arguments.
    scorer: Any = get_score_answer_fn(task)
    return scorer
