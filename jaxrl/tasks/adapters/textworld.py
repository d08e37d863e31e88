"""Text games of TextWorld, generated here."""

import contextlib
import dataclasses
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrl.errors import UserError
from jaxrl.rollout.types import SEAT, Problem
from jaxrl.tasks.adapters.optional import EXTRA, imported
from jaxrl.tasks.adapters.stepped import Seen

_REQUESTED = (
    "admissible_commands",
    "description",
    "inventory",
    "lost",
    "max_score",
    "objective",
    "policy_commands",
    "won",
)
_PROMPT = re.compile(r"\n>[^\n]*\Z")
_GAP = re.compile(r"\s*\n\s*\n\s*")

WAIT = 25.0
"""Seconds that a game waits for the calls of others; less than what `SteppedTask` gives
it, so that its error is what the episode says."""
_PARSER = threading.Lock()
"""Held in all calls of the library, whose parser is one object for all games."""

Tell = Callable[[Any, bool], str]
"""From the library's `GameState`, and whether the game begins, to a text."""
Choose = Callable[[str, Sequence[str]], str]
"""From a reply and the commands that can be given to one of them; a ValueError tells
the agent why it is none."""


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a generated game is.

    Attributes:
      rooms: Of the world.
      objects: In it.
      quest_length: Commands that the shortest solution takes.
    """

    rooms: int = 3
    objects: int = 4
    quest_length: int = 2


def games(directory: Path, size: Size, count: int, *, first: int = 0) -> list[Problem]:
    """Problems for games that `write_games` writes.

    Args:
      directory: Of the games.
      size: Of each game.
      count: Number of games.
      first: Seed of the first one; the others follow.
    """
    sizes = dataclasses.asdict(size)
    named = "_".join(f"{name}{value}" for name, value in sizes.items())
    seeds = range(first, first + count)
    paths = {seed: directory / f"game_{named}_{seed}.z8" for seed in seeds}
    return [
        Problem(path.stem, "", None, {"game": f"{path}", "seed": seed, **sizes})
        for seed, path in paths.items()
    ]


def write_games(problems: Sequence[Problem]) -> None:
    """Generate the games that aren't there; each takes seconds.

    Equal seeds and sizes give equal games.

    Args:
      problems: From `games`.

    Raises:
      UserError: If TextWorld can't be imported.
    """
    textworld = imported("textworld", EXTRA)
    for problem in problems:
        path = Path(problem.extra["game"])
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
            made = Path(unfinished) / path.name
            options = textworld.GameOptions()
            options.nb_rooms = problem.extra["rooms"]
            options.nb_objects = problem.extra["objects"]
            options.quest_length = problem.extra["quest_length"]
            options.seeds, options.path = problem.extra["seed"], f"{made}"
            textworld.make(options)
            # The game last, whose presence says that all is there.
            for part in sorted(made.parent.iterdir(), key=lambda one: one == made):
                os.replace(part, path.parent / part.name)


def as_told(state: Any, begins: bool) -> str:
    """What the game says, and the commands, as lines of a dialogue.

    Args:
      state: Of the game.
      begins: Show the objective and the room instead.
    """
    said = _PROMPT.sub("", state.feedback)
    told = [state.objective, state.description] if begins else [said]
    commands = ", ".join(state.admissible_commands)
    return _tidy([*told, f"Commands: {commands}."])


def as_it_is(state: Any, begins: bool, commands: Sequence[str] | None = None) -> str:
    """All that matters now, for agents that are shown nothing else.

    Args:
      state: Of the game.
      begins: Makes no difference.
      commands: To be numbered; None takes all.
    """
    del begins
    offered = state.admissible_commands if commands is None else commands
    numbered = "\n".join(f"{number} {name}" for number, name in enumerate(offered, 1))
    return _tidy([state.objective, state.description, state.inventory, numbered])


def by_name(said: str, commands: Sequence[str]) -> str:
    """Read a command that is the whole reply.

    >>> by_name(" Go North", ["go north"])
    'go north'

    Args:
      said: The reply.
      commands: That can be given.
    """
    known = {command.casefold(): command for command in commands}
    found = " ".join(said.casefold().split())
    if found not in known:
        raise ValueError(f"{said.strip()!r} is none of the commands.")
    return known[found]


def by_number(said: str, commands: Sequence[str]) -> str:
    """Read the number of a command, from 1, that is the whole reply.

    >>> by_number("1", ["go north"])
    'go north'

    Args:
      said: The reply.
      commands: That can be given.
    """
    number = said.strip()
    if not (number.isdecimal() and 1 <= int(number) <= len(commands)):
        raise ValueError(f"{number!r} is not the number of a command.")
    return commands[int(number) - 1]


def room_and_inventory(state: Any) -> Any:
    """Which states are the same: what there is to see, without what was said last."""
    return state.description, state.inventory


@dataclasses.dataclass(frozen=True)
class TextWorld:
    """Makes a game for each episode, in the seat "policy".

    A problem's `extra["game"]` is its file. Rewards are shares of the game's score; a
    reply that is no command leaves the game as it is.

    Attributes:
      tell: What the agent reads.
      choose: How its replies are read.
      state: What recurs where the game is in the same state, for step-level credit.
      wrappers: Of the library, around the game.
    """

    tell: Tell = as_told
    choose: Choose = by_name
    state: Callable[[Any], Any] = room_and_inventory
    wrappers: Callable[[], Sequence[Any]] = tuple

    def __call__(self, problem: Problem) -> "TextWorldEpisode":
        """The game of a problem.

        Raises:
          UserError: If its file is missing, or the library.
        """
        path = Path(problem.extra.get("game", ""))
        if not path.is_file():
            raise UserError(
                f"problem {problem.id!r} has extra['game'] {str(path)!r}, which is not "
                "a file; generate it with jaxrl.tasks.adapters.textworld.write_games"
            )
        return TextWorldEpisode(self, path)


class TextWorldEpisode:
    """An episode; see `stepped.Stepped`."""

    def __init__(self, part: TextWorld, path: Path):
        """Load a game.

        Args:
          part: How it is shown and played.
          path: Of its file.
        """
        textworld = imported("textworld", EXTRA)
        infos = textworld.EnvInfos(**dict.fromkeys(_REQUESTED, True))
        self._part, self._score = part, 0.0
        wrappers = [*part.wrappers()]
        with _alone():
            self._game = textworld.start(f"{path}", infos, wrappers)

    def reset(self) -> Mapping[str, Seen]:
        """See `Stepped`."""
        with _alone():
            self._state = self._game.reset()
        return self._shown(begins=True)

    def step(self, said: Mapping[str, str]) -> Mapping[str, Seen]:
        """See `Stepped`."""
        try:
            command = self._part.choose(said[SEAT], self._state.admissible_commands)
        except ValueError as error:
            text = f"{error}\n\n{self._text}"
            seen = Seen(text, self._part.state(self._state), valid=False)
            return {SEAT: seen._replace(numbers={"won": 0.0})}
        with _alone():
            self._state, _, _ = self._game.step(command)
        return self._shown(begins=False)

    @property
    def solution(self) -> Sequence[str]:
        """Commands that win from here, for demonstrations."""
        return self._state.policy_commands

    def close(self) -> None:
        """See `Stepped`."""
        with _alone():
            self._game.close()

    def _shown(self, *, begins: bool) -> Mapping[str, Seen]:
        state = self._state
        self._text = self._part.tell(state, begins)
        score = (state.score or 0) / (state.max_score or 1)
        gained, self._score = score - self._score, score
        return {
            SEAT: Seen(
                self._text,
                self._part.state(state),
                reward=gained,
                terminated=bool(state.won or state.lost),
                numbers={"won": float(bool(state.won))},
            )
        }


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Call the library while no other game does, or say why that can't be."""
    if not _PARSER.acquire(timeout=WAIT):
        raise TimeoutError(
            f"other games have kept TextWorld's parser, of which there is one in a "
            f"process, for {WAIT:g} s; if a call of one hangs, start the run again"
        )
    try:
        yield
    finally:
        _PARSER.release()


def _tidy(parts: Sequence[str | None]) -> str:
    """The parts that say something, with one empty line between paragraphs."""
    said = "\n\n".join(part.strip() for part in parts if part)
    return _GAP.sub("\n\n", said).strip()
