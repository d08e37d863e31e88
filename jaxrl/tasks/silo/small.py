"""Demonstrations of small teams for a policy that starts from nothing.

Three agents vote, or look for an alarm in logs. One that knows its trade says what it
found, reads what the others found, and submits what follows from all of it; most of
those who are shown slip.
"""

import asyncio
import dataclasses
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxrl.rollout.chat import ToolCall
from jaxrl.rollout.types import Problem
from jaxrl.tasks.silo.environment import Environment, Rules, play
from jaxrl.tasks.silo.level1 import CANDIDATES
from jaxrl.tasks.silo.protocols import PROTOCOLS
from jaxrl.tasks.silo.scripted import Medium, Script, ScriptedAgent, Seat, Turns
from jaxrl.tasks.silo.training import instance_of, problems
from jaxrl.tasks.silo.wire import TextWire

AGENTS, ROUNDS, PROTOCOL, WIRE = 3, 4, "bp", TextWire()
"""One round more than an agent needs that doesn't slip."""
HELD_OUT = 10_000
"""Instances from this seed on are not trained on."""


@dataclasses.dataclass(frozen=True)
class Trade:
    """How a task is solved from what agents found alone.

    Attributes:
      answers: All that can be found.
      together: From what each agent found to the team's answer.
    """

    answers: tuple[Any, ...]
    together: Callable[[Sequence[Any]], Any]


def _most(found: Sequence[str]) -> str:
    counts = Counter(found)
    return max(CANDIDATES, key=lambda candidate: counts[candidate])


TRADES: Mapping[str, Trade] = {
    "I-03": Trade(CANDIDATES, _most),
    "I-04": Trade((True, False), any),
}
"""By the id of the task."""


@dataclasses.dataclass(frozen=True)
class Slips:
    """How often an agent slips.

    Attributes:
      hasty: Submits what it found, and tells nobody.
      deaf: Tells what it found, and submits it without reading what the others did.
      misread: Finds something else than its shard holds.
    """

    hasty: float = 0.6
    deaf: float = 0.3
    misread: float = 0.1


def member(seat: Seat, slips: Slips, draw: random.Random) -> Script:
    """The script of an agent that solves its task, but for its slips.

    Args:
      seat: In a team that broadcasts, at one of `TRADES`.
      slips: How often each of them happens.
      draw: Decides which.
    """
    trade = TRADES[seat.instance.task.id]
    hasty, deaf, misread = (
        draw.random() < share for share in dataclasses.astuple(slips)
    )
    [found] = seat.solve({})
    if misread:
        found = draw.choice([answer for answer in trade.answers if answer != found])

    def script(seat: Seat, medium: Medium) -> Turns:
        del medium  # What agents tell each other here is an answer, and nothing else.
        if not hasty:
            yield [ToolCall("broadcast_message", {"content": written(found)})]
        if hasty or deaf:
            yield [seat.submit([found])]
            return
        [heard] = yield [ToolCall("receive_messages", {})]
        told = [_read(message["content"], trade) for message in heard["messages"]]
        yield [seat.submit([trade.together([found, *told])])]

    return script


def written(found: Any) -> str:
    """What an agent found, as it tells others."""
    return found if isinstance(found, str) else json.dumps(found)


def _read(content: str, trade: Trade) -> Any:
    return next(answer for answer in trade.answers if written(answer) == content)


def demonstrated(
    problem: Problem, slips: Slips, draw: random.Random
) -> tuple[Environment, list[Problem]]:
    """Play an instance; returns how it ended, and what each agent saw and said.

    Args:
      problem: From `training.problems`.
      slips: How often each of them happens.
      draw: Decides which.
    """
    run = Environment(
        instance_of(problem, AGENTS), PROTOCOLS[PROTOCOL], WIRE, Rules(rounds=ROUNDS)
    )
    seats = [Seat(run.instance, i, PROTOCOL, WIRE, ROUNDS) for i in range(AGENTS)]
    team = [ScriptedAgent(seat, member(seat, slips, draw)) for seat in seats]
    asyncio.run(play(run, team, limit=asyncio.Semaphore(AGENTS)))
    rows = []
    for agent, one in enumerate(run.members):
        said = [i for i, m in enumerate(one.messages) if m["role"] == "assistant"]
        asked, answer = one.messages[: said[0]], one.messages[said[0] : said[-1] + 1]
        rows.append(Problem(f"{problem.id} {agent}", asked, answer, {}))
    return run, rows


def demonstrations(instances: int, *, seed: int) -> Iterator[Problem]:
    """What agents of mixed quality see and say.

    Args:
      instances: Of each task.
      seed: Other seeds give other slips.
    """
    draw = random.Random(f"demonstrations {seed}")
    for problem in problems([*TRADES], instances):
        yield from demonstrated(problem, Slips(), draw)[1]
