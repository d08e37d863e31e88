import json
import sys

import pytest

from jaxrl.errors import UserError
from jaxrl.tasks.adapters.alfworld import ALFWORLD, games
from tests.tasks.adapters.doubles import textworld


def write(root, task, *, solvable=True):
    path = root / "json_2.1.1" / "train" / task / "trial_1" / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"solvable": solvable}))
    return path


@pytest.mark.parametrize("folder", ["data", "movable"])
def test_games_are_those_that_the_library_plays(tmp_path, monkeypatch, folder):
    root = tmp_path / folder
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    used = write(root, "look_at_obj-Mug-None-Lamp-1")
    write(root, "look_at_obj-Mug-None-Lamp-2", solvable=False)
    write(root, "pick_and_place-AppleSliced-None-Table-3")
    write(root, "pick_two_movable-Mug-None-Table-4")
    [problem] = games("train")
    assert problem.extra["game"] == str(used)
    assert problem.id == "look_at_obj-Mug-None-Lamp-1/trial_1"


def test_missing_data_is_said_with_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"ALFWORLD_DATA is .*alfworld-download"):
        games("train")


def test_the_library_is_needed_to_play(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "textworld", textworld())
    monkeypatch.setitem(sys.modules, "alfworld.agents.environment", None)
    write(tmp_path, "look_at_obj-Mug-None-Lamp-1")
    with pytest.raises(UserError, match="pip install alfworld"):
        ALFWORLD(games("train")[0])
