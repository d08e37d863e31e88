"""The environment: synchronous rounds in which all agents act at once."""

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxrl.rollout.chat import ChatAgent, Reply, Tool, ToolCall
from jaxrl.rollout.types import Message
from jaxrl.tasks.silo.answers import is_shallow
from jaxrl.tasks.silo.board import NOTHING, Board, Caller, MakeBoard, Result
from jaxrl.tasks.silo.instances import Instance
from jaxrl.tasks.silo.prompts import (
    NO_CALL,
    PLANNING,
    SCRATCHPAD,
    Prompt,
    neutral,
    reminder,
    system_message,
)
from jaxrl.tasks.silo.tools import COMMON, WAIT, failed, objection
from jaxrl.tasks.silo.wire import Wire

IGNORED = failed("turn_over", "the call came after the end of your turn")


@dataclasses.dataclass(frozen=True)
class Rules:
    """How a run goes; the defaults are those of the release.

    Attributes:
      rounds: After which the run ends (R_max).
      calls: Replies of an agent in each round; the release has one, with which a chain
        of more than 50 agents takes more than 100 rounds.
      push: New messages come by themselves when a round begins.
      prompt: Text of the task.
      planning: One reply before the first round, for a plan.
      reminder: The protocol is said again in each round.
      scratchpad: Agents are advised to keep notes.
      lost: Numbers of messages, or writes of files, that get lost, from 0 in the order
        in which they are sent.
    """

    rounds: int = 100
    calls: int = 1
    push: bool = False
    prompt: Prompt = neutral
    planning: bool = False
    reminder: bool = False
    scratchpad: bool = False
    lost: frozenset[int] = frozenset()


@dataclasses.dataclass
class Member:
    """An agent's side of a run.

    Attributes:
      messages: The conversation so far.
      known: Agents whose shards may have reached it; never shown.
      calls: Replies in this round.
      turn_over: Whether it acts no more in this round.
      answer: What it submitted.
      submitted: Round in which it did so; None if it hasn't.
      informed: `known` at that time.
      prompt_tokens: Read so far.
      completion_tokens: Written so far.
      invalid: Replies without a valid call.
    """

    messages: list[Message]
    known: frozenset[int]
    calls: int = 0
    turn_over: bool = False
    answer: Any = None
    submitted: int | None = None
    informed: frozenset[int] = NOTHING
    prompt_tokens: int = 0
    completion_tokens: int = 0
    invalid: int = 0


class Environment:
    """One run of a team: what its agents see, and what their replies do.

    Agents in `acting` are asked with `observation`, and all their replies go to `step`
    at once. With one reply for each round, a step is a round. Replies are carried out
    in the order of ids, but nothing that is sent in a round is seen before the next.

    Attributes:
      instance: What is to be solved.
      board: What agents exchange.
      members: By id.
      round: Number of the round, from 1; 0 while agents plan.
    """

    def __init__(
        self, instance: Instance, protocol: MakeBoard, wire: Wire, rules: Rules
    ):
        """Begin a run.

        Args:
          instance: What is to be solved.
          protocol: How agents exchange information.
          wire: How calls are written.
          rules: How the run goes.
        """
        self.instance, self.wire, self.rules = instance, wire, rules
        self.board: Board = protocol(instance.agents, rules.lost)
        common = {tool["function"]["name"]: tool for tool in COMMON}
        self._tools: dict[str, Tool] = {**self.board.tools, **common}
        self.members = [self._member(agent) for agent in range(instance.agents)]
        self.round = 0 if rules.planning else 1

    def _member(self, agent: int) -> Member:
        system = system_message(
            agent,
            self.instance.agents,
            rounds=self.rules.rounds,
            calls=self.rules.calls,
            protocol=self._protocol,
            tools=self.wire.explained([*self._tools.values()]),
            hint=SCRATCHPAD if self.rules.scratchpad else "",
        )
        task = self.rules.prompt(self.instance, agent)
        if self.rules.planning:
            task += f"\n\n{PLANNING}"
        messages: list[Message] = [
            {"role": "system", "content": system},
            {"role": "user", "content": task},
        ]
        return Member(messages, frozenset((agent,)))

    @property
    def _protocol(self) -> str:
        """What agents are told about the exchange."""
        news = self.board.about_news if self.rules.push else ""
        return f"{self.board.about} {news}".strip()

    @property
    def finished(self) -> bool:
        """Whether all have submitted or the rounds are over."""
        over = self.round > self.rules.rounds
        return over or all(m.submitted is not None for m in self.members)

    @property
    def rounds(self) -> int:
        """Rounds that were carried out."""
        return max(self.round - 1, 0)

    @property
    def acting(self) -> list[int]:
        """Agents whose replies the next step takes."""
        if self.finished:
            return []
        return [agent for agent, m in enumerate(self.members) if not m.turn_over]

    def observation(self, agent: int) -> tuple[Sequence[Message], Sequence[Tool]]:
        """The conversation of an agent, and the tools to hand it."""
        tools = [*self._tools.values()] if self.round else []
        return self.members[agent].messages, self.wire.declared(tools)

    def step(self, replies: Mapping[int, Reply]) -> None:
        """Carry out the replies of all acting agents.

        Args:
          replies: By id; exactly those of `acting`.
        """
        if self.finished or sorted(replies) != self.acting:
            raise ValueError(f"replies of {sorted(replies)}, not of {self.acting}")
        for agent in sorted(replies):
            member, reply = self.members[agent], replies[agent]
            member.prompt_tokens += reply.prompt_tokens
            member.completion_tokens += reply.completion_tokens
            if self.round:
                self._carry_out(agent, reply)
            else:
                member.messages.append({"role": "assistant", "content": reply.text})
                _note(member, "The first round begins.")
                member.turn_over = True
        if not self.acting:
            self._close()

    def saved(self) -> dict[str, Any]:
        """The state at the end of a round as JSON."""
        members = [
            dataclasses.asdict(m)
            | {"known": sorted(m.known), "informed": sorted(m.informed)}
            for m in self.members
        ]
        return {"round": self.round, "members": members, "board": self.board.saved()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Return to a saved state of the same instance, protocol, wire and rules."""
        self.round = saved["round"]
        self.board.restore(saved["board"])
        self.members = [
            dataclasses.replace(
                Member(**member),
                known=frozenset(member["known"]),
                informed=frozenset(member["informed"]),
            )
            for member in saved["members"]
        ]

    def _carry_out(self, agent: int, reply: Reply) -> None:
        member = self.members[agent]
        member.calls += 1
        calls = _identified(self.wire.calls(reply, [*self._tools.values()]))
        member.messages.append(self.wire.said(reply, calls))
        caller = Caller(agent, self.round, member.known)
        results = [self._perform(call, caller) for call in calls]
        # What was read now can't have shaped what was sent now.
        member.known = member.known.union(*(result.learned for result in results))
        values = [result.value for result in results]
        member.messages += self.wire.shown([*zip(calls, values, strict=True)])
        member.turn_over |= member.calls >= self.rules.calls
        if not any(result.valid for result in results):
            member.invalid += 1
            passed = ", and the round has passed" if member.turn_over else ""
            _note(member, f"{NO_CALL}{passed}.")

    def _perform(self, call: ToolCall, caller: Caller) -> Result:
        member = self.members[caller.agent]
        if member.turn_over:
            return Result(IGNORED, valid=False)
        wrong = objection(call, self._tools)
        if wrong is not None or call.arguments is None:
            return Result(wrong, valid=False)
        if call.name in self.board.tools:
            return self.board.perform(call.name, caller, call.arguments)
        if call.name == WAIT["function"]["name"]:
            member.turn_over = True
            return Result({"status": "waiting"})
        if not is_shallow(call.arguments["answer"]):
            return Result(
                failed("bad_arguments", "answer is nested too deeply"), valid=False
            )
        member.answer = call.arguments["answer"]
        member.submitted, member.informed = self.round, caller.known
        member.turn_over = True
        return Result({"status": "submitted"})

    def _close(self) -> None:
        """End the round, or the planning, and begin the next."""
        if self.round:
            self.board.close()
        self.round += 1
        for agent, member in enumerate(self.members):
            member.calls = 0
            member.turn_over = member.submitted is not None
            if not member.turn_over and self.round > 1:
                self._begin_round(agent, member)

    def _begin_round(self, agent: int, member: Member) -> None:
        if self.rules.push:
            news = self.board.news(Caller(agent, self.round, member.known))
            if news:
                member.known |= news.learned
                _note(member, f"New: {json.dumps(news.value)}")
        if self.rules.reminder:
            left = self.rules.rounds - self.round + 1
            _note(member, reminder(self._protocol, left))


async def play(
    environment: Environment,
    agents: Sequence[ChatAgent],
    *,
    limit: asyncio.Semaphore,
    after_step: Callable[[Environment], None] = lambda environment: None,
) -> None:
    """Run a team to the end.

    Args:
      environment: Which may have begun already.
      agents: By id.
      limit: Replies that are waited for at once.
      after_step: Called with the environment after each step.

    Raises:
      Exception: What an agent raised, the first one of a step.
    """

    async def asked(agent: int) -> Reply:
        async with limit:
            return await agents[agent].reply(*environment.observation(agent))

    while not environment.finished:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {a: group.create_task(asked(a)) for a in environment.acting}
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        environment.step({agent: task.result() for agent, task in tasks.items()})
        after_step(environment)


def _identified(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls, with ids where there are none."""
    return [
        call if call.id else dataclasses.replace(call, id=f"call_{number}")
        for number, call in enumerate(calls)
    ]


def _note(member: Member, text: str) -> None:
    """Tell an agent something, in one message with what it has been told last."""
    last = member.messages[-1]
    if last["role"] == "user":
        member.messages[-1] = {**last, "content": f"{last['content']}\n\n{text}"}
    else:
        member.messages.append({"role": "user", "content": text})
