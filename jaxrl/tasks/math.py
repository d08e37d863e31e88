"""Mathematical answers, compared as expressions by math-verify."""

import functools
import logging
from typing import Any, NamedTuple

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem

WORKER_IMPORTS = ("math_verify",)


def math_reward(problem: Problem, text: str) -> float:
    r"""1 if the response's answer equals the problem's as an expression, else 0.

    The answer is what the last `\boxed{}` holds, or else the last expression. An answer
    that cannot be compared is wrong; one that takes too long meets the pool's deadline.

    Args:
      problem: `answer` is a number or an expression in plain or LaTeX notation.
      text: The response.

    Raises:
      ValueError: The problem's answer holds no expression.
    """
    library = _math_verify()
    expected = _expected(str(problem.answer))
    found = library.parse(text, parsing_timeout=None)
    return float(library.verify(expected, found, timeout_seconds=None))


class _MathVerify(NamedTuple):
    parse: Any
    verify: Any


@functools.cache
def _math_verify() -> _MathVerify:
    try:
        import math_verify
    except ImportError as error:
        raise UserError(
            "math-verify is not installed; install the extra: "
            "pip install 'jaxrl[tasks]'"
        ) from error
    # Its own timeouts need signals, which work on the main thread only; off that thread
    # every answer would be wrong. It warns that they are off.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return _MathVerify(math_verify.parse, math_verify.verify)


@functools.lru_cache(maxsize=4096)
def _expected(answer: str) -> list[Any]:
    marked = "$" in answer or "\\boxed" in answer
    parse = _math_verify().parse
    found = parse(answer if marked else f"\\boxed{{{answer}}}", parsing_timeout=None)
    if not found:
        raise ValueError(f"the problem's answer {answer!r} holds no expression")
    return found
