"""What every way to exchange information has in common."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from jaxrl.rollout.chat import Tool

NOTHING: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who uses a tool, and when.

    Attributes:
      agent: Its id.
      round: Number of the round, from 1.
      known: Agents whose shards may have reached it, its own included.
    """

    agent: int
    round: int
    known: frozenset[int]


class Result(NamedTuple):
    """What a tool returns.

    Attributes:
      value: JSON, for the agent.
      learned: Agents whose shards may have reached it thereby; never shown to it.
      valid: Whether the call was one of a tool that exists, with fitting arguments.
    """

    value: Any
    learned: frozenset[int] = NOTHING
    valid: bool = True


class Transfer(NamedTuple):
    """Information that went from one agent to another in a round."""

    round: int
    source: int
    target: int


class Board(Protocol):
    """What agents exchange; sent in one round, it is there from the next one on.

    Attributes:
      about: What the system message says about the exchange.
      about_news: What it adds where news come by themselves; empty if none ever do.
      tools: By name.
      events: Messages, or files written in a round, of each agent (`m_i`).
      transfers: Messages as delivered, or files of others as read.
    """

    about: str
    about_news: str
    tools: Mapping[str, Tool]
    events: list[int]
    transfers: list[Transfer]

    def perform(self, name: str, caller: Caller, given: Mapping[str, Any]) -> Result:
        """Use a tool with arguments that fit it."""
        ...

    def news(self, caller: Caller) -> Result | None:
        """What a round begins with where messages come by themselves."""
        ...

    def close(self) -> None:
        """End a round."""
        ...

    def saved(self) -> Any:
        """The state as JSON."""
        ...

    def restore(self, saved: Any) -> None:
        """Return to a saved state."""
        ...


MakeBoard = Callable[[int, frozenset[int]], Board]
"""Number of agents, and the numbers of messages or writes that get lost."""


Action = Callable[[Caller, Mapping[str, Any]], Result]
"""What a tool does, for a caller and arguments that fit it."""
DELAY = "What is sent or written in a round can be seen from the next round on."
