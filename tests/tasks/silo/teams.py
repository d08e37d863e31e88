"""Teams for tests: an instance, scripts, and runs to the end."""

import asyncio
import json
from functools import cache

from jaxrl.rollout.chat import Reply, ToolCall
from jaxrl.tasks.silo.agents import SCRIPTED
from jaxrl.tasks.silo.environment import Environment, Rules, play
from jaxrl.tasks.silo.instances import instances
from jaxrl.tasks.silo.protocols import PROTOCOLS
from jaxrl.tasks.silo.scripted import Seat
from jaxrl.tasks.silo.wire import NativeWire


@cache
def drawn(agents):
    return {instance.task.id: instance for instance in instances((agents,))}


def begun(task, agents, *, protocol="p2p", wire=None, rules=None):
    return Environment(
        drawn(agents)[task], PROTOCOLS[protocol], wire or NativeWire(), rules or Rules()
    )


def seats(run, protocol):
    return [
        Seat(run.instance, agent, protocol, run.wire, run.rules.rounds)
        for agent in range(run.instance.agents)
    ]


def finish(run, agents):
    asyncio.run(play(run, agents, limit=asyncio.Semaphore(4)))
    return run


def scripted(task, agents, script, *, protocol="p2p", wire=None, rules=None):
    """A run of a script to its end."""
    run = begun(task, agents, protocol=protocol, wire=wire, rules=rules)
    return finish(run, [SCRIPTED[script](seat) for seat in seats(run, protocol)])


def call(name, **arguments):
    return Reply("", (ToolCall(name, arguments),))


def calls(*replies):
    """One reply with the calls of several."""
    return Reply("", tuple(c for reply in replies for c in reply.tool_calls))


class Submitting:
    """Submits an answer at once."""

    def __init__(self, answer):
        self.answer = answer

    async def reply(self, messages, tools):
        return call("submit_result", answer=self.answer)


def results(run, agent):
    """What an agent has been shown, in order."""
    return run.wire.read(run.members[agent].messages)


def submissions(run):
    return [(i, json.loads(json.dumps(m.answer))) for i, m in enumerate(run.members)]
