"""The SQL task as an environment: what it says of every turn."""

import asyncio
import dataclasses

import pytest

from jaxrl.rollout.chat import LimitReached
from jaxrl.rollout.types import SEAT
from jaxrl.tasks.sql.agents import ScriptedAgent, expert_turns
from jaxrl.tasks.sql.generate import write_databases
from jaxrl.tasks.sql.loader import read_spider
from jaxrl.tasks.sql.play import sql_task


@pytest.fixture(scope="module")
def task():
    with sql_task(workers=1) as play:
        yield play


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    path = tmp_path_factory.mktemp("generated") / "x"
    write_databases(path, seed=0, databases=5)
    return read_spider(path)[0]


@dataclasses.dataclass(frozen=True)
class Tired:
    """Follows a script, but for so many turns only."""

    script: ScriptedAgent
    turns: int

    async def reply(self, messages, tools):
        if sum(m["role"] == "assistant" for m in messages) == self.turns:
            raise LimitReached("no room")
        return await self.script.reply(messages, tools)


def test_turns_up_to_the_last_proposal_belong_to_the_schema(task, problem):
    texts = expert_turns(problem)
    outcome = asyncio.run(task(problem, {SEAT: ScriptedAgent(texts)}))
    judged = outcome.agents[SEAT]
    assert judged.rewards == (1.1, 1.0)
    assert judged.channels == [1] * (len(texts) - 2) + [0, 0]
    assert len(judged.anchors) == len(texts)
    assert outcome.numbers == {"answers_right": 1.0, "turns_formed": 1.0}


def test_an_agent_without_room_is_judged_by_what_it_has_said(task, problem):
    agent = Tired(ScriptedAgent(expert_turns(problem)), 2)
    judged = asyncio.run(task(problem, {SEAT: agent})).agents[SEAT]
    assert judged.rewards == (0.0, 0.0)
    assert len(judged.channels) == 2
    with pytest.raises(LimitReached):
        asyncio.run(task(problem, {SEAT: dataclasses.replace(agent, turns=0)}))
