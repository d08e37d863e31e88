"""Episodes that a server records: what was asked and sampled, until a reward comes."""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jaxrl.rollout.dialogue import Exchange
from jaxrl.rollout.types import Turn
from jaxrl.serve.errors import RequestError, wrong
from jaxrl.serve.records import Drawn, record_of, turns_of
from jaxrl.serve.requests import is_finite
from jaxrl.truncation import Distribution

MOST_OPEN = 4096
"""Episodes without a reward that are kept at once."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclasses.dataclass(eq=False)
class Recording:
    """An open episode.

    Attributes:
      name: By which it is addressed.
      turns: So far.
      last: The last exchange, which the next may go on from.
      lock: Held during a turn.
      closed: Whether it takes no more turns.
    """

    name: str
    turns: list[Drawn] = dataclasses.field(default_factory=list)
    last: Exchange | None = None
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    closed: bool = False

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn before, and keep others out."""
        async with self.lock:
            if self.closed:
                raise _closed(self.name)
            yield

    def add(self, exchange: Exchange, drawn_from: Distribution) -> None:
        """Keep a turn, and what it was drawn from."""
        self.last = exchange
        turn = Turn(exchange.prompt, exchange.completion)
        self.turns.append(Drawn(turn, drawn_from))


class Recordings:
    """Episodes by name; closed ones are files, and at the end of a server open ones."""

    def __init__(self, directory: Path):
        """Record into a directory, which may hold episodes already.

        Args:
          directory: Of closed episodes. Those that `keep` left in its folder `open` go
            on; their next turn begins a new training sequence.
        """
        self._directory, self._left = directory, directory / "open"
        self._open: dict[str, Recording] = {}
        self._left.mkdir(parents=True, exist_ok=True)
        for path in self._left.glob("[!.]*.json"):
            if not self._path(path.stem).exists():
                turns = turns_of(json.loads(path.read_text()))
                self._open[path.stem] = Recording(path.stem, turns)

    def keep(self) -> None:
        """Write the episodes that are open, so that no turn is lost with the server."""
        for name, found in self._open.items():
            if found.turns:
                record = record_of(name, found.turns, None, ())
                _write(self._left / f"{name}.json", record)

    def open(self, name: str) -> Recording:
        """The open episode of that name, a new one if there is none yet."""
        if self._path(name).exists():
            raise _closed(name)
        if name not in self._open and len(self._open) >= MOST_OPEN:
            raise RequestError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{MOST_OPEN} episodes are open; give them rewards, or delete them",
            )
        return self._open.setdefault(name, Recording(name))

    def show(self, name: str) -> dict[str, Any]:
        """A trajectory as JSON, open or closed."""
        path = self._path(name)
        if name in self._open:
            return record_of(name, self._open[name].turns, None, ())
        if not path.exists():
            raise _unknown(name)
        return json.loads(path.read_text())

    async def close(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Close an episode with its reward, once no turn of it is under way.

        Args:
          name: Of the episode.
          body: `reward`, a number, or `rewards`, one per channel; and `turn_rewards`
            if turns have their own.
        """
        path = self._path(name)
        if name not in self._open:
            raise _closed(name) if path.exists() else _unknown(name)
        found = self._open[name]
        given = "rewards" if "rewards" in body else "reward"
        value = body.get(given)
        rewards = _numbers(given, value if given == "rewards" else [value])
        async with found.turn():
            told = _numbers("turn_rewards", body.get("turn_rewards", []))
            if len(told) not in (0, len(found.turns)):
                raise wrong("turn_rewards", f"must be {len(found.turns)}, or none")
            record = record_of(name, found.turns, rewards, told)
            _write(path, record)
            self._forget(name)
        return record

    def drop(self, name: str) -> None:
        """Forget an open episode."""
        self._path(name)
        if name not in self._open:
            raise _unknown(name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        """Let an episode be open no more."""
        (self._left / f"{name}.json").unlink(missing_ok=True)
        self._open.pop(name).closed = True

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise wrong(
                "episode", "names have up to 128 letters, digits, '_', '-' and '.'"
            )
        return self._directory / f"{name}.json"


def _write(path: Path, record: Mapping[str, Any]) -> None:
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(record))
    os.replace(unfinished, path)


def _closed(name: str) -> RequestError:
    return RequestError(HTTPStatus.CONFLICT, f"episode {name} is closed")


def _unknown(name: str) -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, f"there is no open episode {name}")


def _numbers(param: str, values: Any) -> list[float]:
    good = isinstance(values, list) and all(map(is_finite, values))
    if not good or (param != "turn_rewards" and not values):
        raise wrong(param, "must be finite numbers")
    return [float(value) for value in values]
