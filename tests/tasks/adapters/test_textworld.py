import asyncio
import sys
import types
from pathlib import Path

import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem
from jaxrl.tasks.adapters import textworld
from jaxrl.tasks.adapters.stepped import SteppedTask, latest
from jaxrl.tasks.adapters.textworld import (
    Size,
    TextWorld,
    as_it_is,
    as_told,
    by_name,
    by_number,
    games,
    write_games,
)
from tests.tasks.adapters import doubles
from tests.tasks.adapters.doubles import Scripted

SIZE = Size(rooms=2, objects=3, quest_length=2)
COMMANDS = ["go North", "look"]
STATE = types.SimpleNamespace(
    feedback="\n\nYou see\n\n\n\na box.\n\n>          -= Hall =-0/1",
    objective="Open it.",
    description="-= Hall =-\nA box.",
    inventory=None,
    admissible_commands=COMMANDS,
)


def test_a_dialogue_begins_with_the_objective_and_goes_on_with_what_is_said():
    assert as_told(STATE, True) == (
        "Open it.\n\n-= Hall =-\nA box.\n\nCommands: go North, look."
    )
    assert as_told(STATE, False) == "You see\n\na box.\n\nCommands: go North, look."


def test_as_it_is_says_all_that_matters_and_numbers_the_commands():
    shown = "Open it.\n\n-= Hall =-\nA box.\n\n1 go North\n2 look"
    assert as_it_is(STATE, True) == as_it_is(STATE, False) == shown
    assert as_it_is(STATE, True, ["look"]).endswith("A box.\n\n1 look")
    assert as_it_is(STATE, True, []).endswith("A box.")


def test_commands_are_read_by_name_and_by_number():
    assert by_name(" GO  north\n", COMMANDS) == "go North"
    assert by_number(" 2 ", COMMANDS) == "look"


@pytest.mark.parametrize("choose", [by_name, by_number])
@pytest.mark.parametrize("said", ["", "0", "3", "go", "-1", "²"])
def test_other_replies_are_no_commands(choose, said):
    with pytest.raises(ValueError, match="command"):
        choose(said, COMMANDS)


def test_a_missing_game_is_said(tmp_path):
    [problem] = games(tmp_path, SIZE, 1, first=7)
    with pytest.raises(UserError, match=r"_7\.z8.*write_games"):
        TextWorld()(problem)
    with pytest.raises(UserError, match="which is not a file"):
        TextWorld()(Problem("x", "", None))


def test_a_game_that_hangs_is_what_others_name_as_their_failure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "textworld", doubles.textworld())
    monkeypatch.setattr(textworld, "WAIT", 0.1)
    [problem] = games(tmp_path, SIZE, 1)
    Path(problem.extra["game"]).write_text("0")
    game = TextWorld()(problem)
    with textworld._PARSER:
        for call in (lambda: TextWorld()(problem), game.reset, game.close):
            with pytest.raises(TimeoutError, match="kept TextWorld's parser"):
                call()
    assert game.reset()["policy"].text


class Generator(types.SimpleNamespace):
    """As the library's module; writes what it was asked for, and may fail midway."""

    GameOptions = types.SimpleNamespace
    fails = False

    def make(self, options):
        path = Path(options.path)
        path.write_text(f"{options.nb_rooms} {options.seeds}")
        if self.fails:
            raise KeyboardInterrupt
        path.with_suffix(".json").write_text("{}")


def test_games_of_each_size_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    library = Generator()
    monkeypatch.setitem(sys.modules, "textworld", library)
    problems = [
        *games(tmp_path / "games", Size(rooms=2), 1, first=5),
        *games(tmp_path / "games", Size(rooms=3), 1, first=5),
    ]
    library.fails = True
    with pytest.raises(KeyboardInterrupt):
        write_games(problems)
    assert not [*(tmp_path / "games").iterdir()]
    library.fails = False
    write_games(problems)
    paths = [Path(problem.extra["game"]) for problem in problems]
    assert [path.read_text() for path in paths] == ["2 5", "3 5"]
    assert len([*(tmp_path / "games").iterdir()]) == 4
    library.fails = True
    write_games(problems)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Games that the library has generated, the second one twice."""
    pytest.importorskip("textworld")
    folders = [tmp_path_factory.mktemp("games") for _ in range(2)]
    found = [*games(folders[0], SIZE, 2), *games(folders[1], SIZE, 1, first=1)]
    write_games(found)
    assert {path.suffix for path in folders[1].iterdir()} == {".json", ".ni", ".z8"}
    return found


pytestmark = pytest.mark.filterwarnings("ignore:Game .* is not fully supported")


def play(problem, *says, **fields):
    agent = Scripted(*says)
    task = SteppedTask(TextWorld(**fields), turns=4, show=latest)
    return asyncio.run(task(problem, {"policy": agent})), agent.asked


@pytest.mark.slow
def test_equal_seeds_give_equal_games(written):
    first, second, again = (play(problem, "look")[1] for problem in written)
    assert second == again
    assert first != second


@pytest.mark.slow
def test_a_generated_game_is_won_by_its_solution(written):
    game = TextWorld()(written[0])
    game.reset()
    solution = game.solution
    game.close()
    outcome, _ = play(written[0], *solution)
    assert outcome.numbers == {
        "episode_terminated": 1,
        "episode_truncated": 0,
        "invalid_actions": 0,
        "won": 1,
    }
    assert outcome.agents["policy"].rewards == (1.0,)


@pytest.mark.slow
def test_looking_around_leads_back_to_the_same_state(written):
    outcome, _ = play(written[0], "look", "inventory", "dance", "look")
    assert len(set(outcome.agents["policy"].anchors)) == 1
    assert outcome.numbers["invalid_actions"] == 1


@pytest.mark.slow
def test_games_at_once_do_not_disturb_each_other(written):
    async def at_once():
        task = SteppedTask(TextWorld(), turns=4)
        agents = [{"policy": Scripted("look", "inventory")} for _ in range(12)]
        jobs = [task(written[n % 2], one) for n, one in enumerate(agents)]
        await asyncio.gather(*jobs)
        return [one["policy"].asked for one in agents]

    asked = asyncio.run(at_once())
    assert all(asked[n] == asked[n % 2] for n in range(12))
    assert asked[0] != asked[1]


@pytest.mark.slow
def test_commands_can_be_given_by_number(written):
    outcome, asked = play(written[0], "1", "99", tell=as_it_is, choose=by_number)
    assert "\n1 " in asked[0][-1]["content"]
    assert outcome.numbers["invalid_actions"] == 1
