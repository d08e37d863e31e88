"""Messages, to one agent or to all others."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxrl.rollout.chat import Tool
from jaxrl.tasks.silo.board import (
    DELAY,
    NOTHING,
    Action,
    Board,
    Caller,
    Result,
    Transfer,
)
from jaxrl.tasks.silo.tools import INTEGER, TEXT, done, failed, tool

_TO_ONE = f"Agents exchange messages, each from one agent to another. {DELAY}"
_TO_ALL = f"Agents exchange messages, each from one agent to all others. {DELAY}"
_SEND = tool(
    "send_message",
    "Send a message to another agent.",
    {"target_id": INTEGER, "content": TEXT},
)
_BROADCAST = tool(
    "broadcast_message", "Send a message to all other agents.", {"content": TEXT}
)
_RECEIVE = tool("receive_messages", "Read the messages that you haven't read yet.")
_LIST_AGENTS = tool("list_agents", "List the ids of all agents.")


class Sent(NamedTuple):
    """A message; the recipient is None where it goes to all others."""

    round: int
    sender: int
    recipient: int | None
    content: str
    known: frozenset[int]


class Mail:
    """Messages to one agent or to all others."""

    def __init__(self, agents: int, lost: frozenset[int], *, to_all: bool):
        """An empty exchange; see `point_to_point` and `broadcast`."""
        self.agents, self.lost = agents, lost
        self.log: list[Sent] = []
        self.seen = [0] * agents
        self.events = [0] * agents
        self.transfers: list[Transfer] = []
        self.about = _TO_ALL if to_all else _TO_ONE
        self.about_news = "You are shown new messages when a round begins."
        declared = (_BROADCAST, _RECEIVE, _LIST_AGENTS) if to_all else (_SEND, _RECEIVE)
        self.tools: Mapping[str, Tool] = {t["function"]["name"]: t for t in declared}
        self._actions: dict[str, Action] = {
            "send_message": self._send,
            "broadcast_message": self._broadcast,
            "receive_messages": self._receive,
            "list_agents": self._list,
        }

    def perform(self, name: str, caller: Caller, given: Mapping[str, Any]) -> Result:
        """See `Board`."""
        return self._actions[name](caller, given)

    def news(self, caller: Caller) -> Result | None:
        """See `Board`."""
        received = self._receive(caller, {})
        return received if received.value["messages"] else None

    def close(self) -> None:
        """See `Board`; messages carry their round."""

    def saved(self) -> Any:
        """See `Board`."""
        log = [[*sent[:4], sorted(sent.known)] for sent in self.log]
        return [log, self.seen, self.events, self.transfers]

    def restore(self, saved: Any) -> None:
        """See `Board`."""
        log, self.seen, self.events, transfers = saved
        self.log = [Sent(r, s, to, text, frozenset(k)) for r, s, to, text, k in log]
        self.transfers = [Transfer(*t) for t in transfers]

    def _send(self, caller: Caller, given: Mapping[str, Any]) -> Result:
        target = given["target_id"]
        if target == caller.agent or not 0 <= target < self.agents:
            return Result(
                failed("bad_target", f"target_id is {target}; give another agent's id")
            )
        self._post(caller, target, given["content"])
        return Result(done(f"sent to agent {target}"))

    def _broadcast(self, caller: Caller, given: Mapping[str, Any]) -> Result:
        self._post(caller, None, given["content"])
        return Result(done("sent to all other agents"))

    def _post(self, caller: Caller, recipient: int | None, content: str) -> None:
        number = sum(self.events)
        self.events[caller.agent] += 1
        if number in self.lost:
            return
        self.log.append(
            Sent(caller.round, caller.agent, recipient, content, caller.known)
        )
        targets = range(self.agents) if recipient is None else (recipient,)
        self.transfers += [
            Transfer(caller.round, caller.agent, to)
            for to in targets
            if to != caller.agent
        ]

    def _receive(self, caller: Caller, given: Mapping[str, Any]) -> Result:
        def round_of(sent: Sent) -> int:
            return sent.round

        start = bisect_right(self.log, self.seen[caller.agent], key=round_of)
        end = bisect_right(self.log, caller.round - 1, key=round_of)
        found = [
            sent
            for sent in self.log[start:end]
            if sent.recipient == caller.agent
            or (sent.recipient is None and sent.sender != caller.agent)
        ]
        self.seen[caller.agent] = caller.round - 1
        messages = [
            {"from": s.sender, "content": s.content, "timestamp": s.round}
            for s in found
        ]
        learned = NOTHING.union(*(sent.known for sent in found))
        return Result({"messages": messages}, learned)

    def _list(self, caller: Caller, given: Mapping[str, Any]) -> Result:
        ids = [*range(self.agents)]
        return Result({"agent_ids": ids, "total": self.agents})


def point_to_point(agents: int, lost: frozenset[int]) -> Board:
    """Messages to one agent each."""
    return Mail(agents, lost, to_all=False)


def broadcast(agents: int, lost: frozenset[int]) -> Board:
    """Messages to all other agents."""
    return Mail(agents, lost, to_all=True)
