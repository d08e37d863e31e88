"""Every law over one case, for a method that isn't in the table, outside of pytest."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.laws import test_laws
from tests.laws.cases import Case


def verdicts(case: Case) -> dict[str, str]:
    """Run all laws over a case; needs 8 devices, as the tests do.

    Args:
      case: A method, and what it does that is out of the ordinary.

    Returns:
      Name of the law to "holds", or why it doesn't apply or doesn't hold.
    """
    return {name: verdict(law, case) for name, law in laws()}


def verdict(law: Callable[[Case], None], case: Case) -> str:
    """Run one law over a case, and say what came of it in a line."""
    try:
        law(case)
    except pytest.skip.Exception as reason:
        return f"does not apply: {reason}"
    except Exception as error:
        text = " ".join(str(error).split())
        return f"fails: {type(error).__name__} {text}"[:200].strip()
    return "holds"


def laws() -> Iterator[tuple[str, Callable[[Case], None]]]:
    """The tests of `test_laws.py` as functions of a case, once for each parameter."""
    for name, law in vars(test_laws).items():
        if not name.startswith("test_"):
            continue
        title = name.removeprefix("test_").replace("_", " ")
        marks = [mark.args for mark in vars(law).get("pytestmark", ())]
        for values in itertools.product(*(values for _, values in marks)):
            given = dict(zip((key for key, _ in marks), values, strict=True))
            shown = [f" ({value})" for value in values]
            yield title + "".join(shown), partial(law, **given)
