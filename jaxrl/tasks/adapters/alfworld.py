"""ALFWorld: household tasks in text, from games that its authors offer.

What it needs, in this order:

1. `pip install alfworld`, which brings TextWorld with PDDL.
2. `alfworld-download`, which puts about 2 GB of data under `~/.cache/alfworld`, or
   under the directory that the variable `ALFWORLD_DATA` names.

Games are then `$ALFWORLD_DATA/json_2.1.1/<split>/<task>/<trial>/game.tw-pddl`, with the
splits `train`, `valid_seen` and `valid_unseen`.

    task = SteppedTask(ALFWORLD, turns=50)
    Rollouts(games("train"), ..., environment=Environment(plain(task), max_turns=50))
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem
from jaxrl.tasks.adapters.optional import imported
from jaxrl.tasks.adapters.textworld import TextWorld

VARIABLE = "ALFWORLD_DATA"
REMEDY = "pip install alfworld, then alfworld-download"
LEFT_OUT = ("movable", "Sliced")
"""Parts of paths of games that the library leaves out of all splits."""


def games(split: str) -> list[Problem]:
    """The games of a split that can be solved.

    Args:
      split: `train`, `valid_seen` or `valid_unseen`.

    Raises:
      UserError: If there are none.
    """
    root = Path(os.environ.get(VARIABLE, "~/.cache/alfworld")).expanduser()
    folder = root / "json_2.1.1" / split
    found = sorted(folder.rglob("game.tw-pddl"))
    paths = [path for path in found if _is_used(path, folder)]
    if not paths:
        raise UserError(
            f"{VARIABLE} is {root}, and {folder} holds no game.tw-pddl; {REMEDY}, or "
            "set the variable to where the data is"
        )
    return [
        Problem(f"{path.parent.relative_to(folder)}", "", None, {"game": f"{path}"})
        for path in paths
    ]


def as_said(state: Any, begins: bool) -> str:
    """What the game says, the task first, and the commands.

    Args:
      state: Of the game.
      begins: Makes no difference.
    """
    del begins
    commands = ", ".join(state.admissible_commands)
    return f"{state.feedback.strip()}\n\nCommands: {commands}."


def said_last(state: Any) -> Any:
    """Which states are the same: those in which the game says the same."""
    return state.feedback


def _is_used(path: Path, folder: Path) -> bool:
    # Where the data lies says nothing about a game.
    if any(part in f"{path.relative_to(folder)}" for part in LEFT_OUT):
        return False
    return bool(json.loads(path.read_text(encoding="utf-8")).get("solvable"))


def _wrappers() -> Sequence[Any]:
    """What gives things their names for people."""
    module = imported("alfworld.agents.environment.alfred_tw_env", REMEDY)
    return (module.AlfredDemangler,)


ALFWORLD = TextWorld(tell=as_said, state=said_last, wrappers=_wrappers)
"""Makes a game for each episode."""
