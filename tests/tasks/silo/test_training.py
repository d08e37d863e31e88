"""Teams of Silo-Bench whose agents are the policy that is trained."""

import asyncio

import pytest

from jaxrl.config import (
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    Rollouts,
    RunConfig,
)
from jaxrl.errors import UserError
from jaxrl.metrics import read_lines
from jaxrl.rollout.chat import LimitReached, ToolCall
from jaxrl.rollout.environment import Environment, TrainedPolicy, plain
from jaxrl.rollout.tool_calls import Parsed
from jaxrl.tasks.silo.agents import SCRIPTED
from jaxrl.tasks.silo.environment import Rules
from jaxrl.tasks.silo.protocols import PROTOCOLS
from jaxrl.tasks.silo.scripted import Seat
from jaxrl.tasks.silo.training import (
    CHANNELS,
    SiloTeam,
    instance_of,
    problems,
    seats,
)
from jaxrl.tasks.silo.wire import NativeWire
from jaxrl.train import train
from tests import tiny
from tests.tasks.silo.teams import Submitting

ROUNDS = 4
TEAM = SiloTeam(PROTOCOLS["bp"], NativeWire(), Rules(rounds=ROUNDS))


def team(problem, *scripts):
    """A seat for each of some scripts."""
    drawn = instance_of(problem, len(scripts))
    return {
        f"agent_{i}": SCRIPTED[script](Seat(drawn, i, "bp", NativeWire(), ROUNDS))
        for i, script in enumerate(scripts)
    }


@pytest.mark.parametrize("task", ["I-01", "I-09", "II-11", "III-21"])
def test_a_team_that_shares_what_it_knows_gets_everything(task):
    [problem] = problems([task], 1)
    outcome = asyncio.run(TEAM(problem, team(problem, "flood", "flood", "flood")))
    assert outcome.failure is None
    assert {judged.rewards for judged in outcome.agents.values()} == {(1.0, 1.0)}
    assert outcome.numbers["success"] == outcome.numbers["submitted"] == 1


def test_everyone_gets_what_the_team_is_worth():
    [problem] = problems(["I-01"], 1)
    outcome = asyncio.run(TEAM(problem, team(problem, "flood", "flood", "silent")))
    assert sorted(outcome.agents) == ["agent_0", "agent_1", "agent_2"]
    [(success, partial)] = {judged.rewards for judged in outcome.agents.values()}
    assert success < 1
    assert partial < 1
    assert outcome.numbers["invalid_replies"] >= ROUNDS


class Hoarse:
    """Speaks as another, a number of times."""

    def __init__(self, agent, words):
        self.agent, self.words = agent, words

    async def reply(self, messages, tools):
        if not self.words:
            raise LimitReached("no room")
        self.words -= 1
        return await self.agent.reply(messages, tools)


def test_who_has_no_room_stays_silent_unless_from_the_beginning():
    [problem] = problems(["I-01"], 1)
    agents = team(problem, "flood", "flood")
    spoken = asyncio.run(
        TEAM(problem, agents | {"agent_1": Hoarse(agents["agent_1"], 1)})
    )
    assert spoken.agents["agent_0"].rewards == (0.5, 0.5)
    with pytest.raises(LimitReached):
        asyncio.run(TEAM(problem, agents | {"agent_1": Hoarse(agents["agent_1"], 0)}))


@pytest.mark.parametrize("answer", [{"0": 1, "total": 2}, "0x" + "f" * 4000])
def test_an_odd_answer_is_wrong_and_no_error(answer):
    [problem] = problems(["I-01"], 1)
    odd = {f"agent_{i}": Submitting(answer) for i in range(2)}
    outcome = asyncio.run(TEAM(problem, odd))
    assert outcome.failure is None
    assert {judged.rewards for judged in outcome.agents.values()} == {(0.0, 0.0)}


def test_problems_differ_in_task_and_seed():
    found = problems(["I-01", "I-05"], 2, seed=7)
    assert [(p.extra["task"], p.extra["seed"]) for p in found] == [
        ("I-01", 7),
        ("I-05", 7),
        ("I-01", 8),
        ("I-05", 8),
    ]
    assert len({p.id for p in found}) == 4
    assert instance_of(found[0], 2).shards != instance_of(found[2], 2).shards
    with pytest.raises(UserError, match=r"tasks has I-99; give some of I-01"):
        problems(["I-01", "I-99"], 1)


def template(messages, tools, begin_reply):
    """The end of what is said last, in the characters that the tiny policy knows."""
    del tools, begin_reply
    return f"{messages[-1]['content'][-12:]}="


def submissions(text):
    """Digits are submitted; all else is no call."""
    digits = "".join(filter(str.isdigit, text))
    if not digits:
        return Parsed(text, ())
    return Parsed("", (ToolCall("submit_result", {"answer": int(digits)}),))


@pytest.mark.slow
def test_a_policy_plays_all_agents_and_is_trained(tmp_path):
    assert all(isinstance(seat, TrainedPolicy) for seat in seats(2).values())
    config = RunConfig(
        name="silo",
        mesh=MeshConfig(fsdp=1),
        data=Rollouts(
            problems(["I-01", "I-05"], 2),
            prompts_per_step=2,
            samples_per_prompt=2,
            max_prompt_tokens=32,
            max_new_tokens=4,
            environment=Environment(
                plain(TEAM),
                agents=seats(2),
                reward_channels=CHANNELS,
                parse=submissions,
                template=template,
                max_turns=ROUNDS,
                patience=10.0,
            ),
        ),
        model=ModelConfig(path=tiny.write_policy(tmp_path / "policy")),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        logging=LoggingConfig(progress=False),
        steps=2,
        output=tmp_path,
    )
    with tiny.cached_compilation():
        directory = train(config).directory
    rows = read_lines(directory / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row["reward_failures"] == row["skipped"] == 0
        assert 2 <= row["turns"] <= 2 * ROUNDS
        assert 0 < row["rounds"] <= ROUNDS
        assert row["logp_gap"] < 1e-4
