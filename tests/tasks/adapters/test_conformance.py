"""What holds for every environment that is stepped, whatever library it is of."""

import asyncio
import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jaxrl.rollout.anchors import fingerprint
from jaxrl.rollout.episodes import Job, played
from jaxrl.rollout.types import Problem
from jaxrl.tasks.adapters import textworld
from jaxrl.tasks.adapters.alfworld import ALFWORLD
from jaxrl.tasks.adapters.gymnasium import Gymnasium
from jaxrl.tasks.adapters.pettingzoo import Zoo, in_turn, parallel
from jaxrl.tasks.adapters.stepped import SteppedTask, seeded
from jaxrl.tasks.adapters.webshop import goals, webshop
from tests.tasks.adapters import doubles

STEPS = (2, 3)
"""Of the two problems, to the goal."""


@dataclasses.dataclass
class Case:
    """An adapter, its problems, and what to say in them."""

    make: Callable[..., Any]
    problems: Sequence[Problem]
    go: str
    wait: str
    seats: tuple[str, ...] = ("policy",)


def zoo(kind, convert):
    pytest.importorskip("pettingzoo")
    from tests.tasks.adapters.zoo import Walkers

    part = Zoo(
        lambda: convert(Walkers()), lambda observation, info: observation["observation"]
    )
    return Case(kind(part), seeded(2), "1", "0", ("first", "second"))


def aec(env):
    from pettingzoo.utils import parallel_to_aec

    return parallel_to_aec(env)


def gym():
    pytest.importorskip("gymnasium")
    from tests.tasks.adapters.zoo import Walk

    return Case(Gymnasium(Walk), seeded(2), "1", "0")


def text_game(folder, part):
    problems = textworld.games(folder, textworld.Size(), 2)
    for seed, problem in enumerate(problems):
        Path(problem.extra["game"]).write_text(f"{seed}")
    return Case(part, problems, "go east", "look")


@pytest.fixture
def case(request, tmp_path, monkeypatch):
    """An adapter; libraries that can't be had everywhere are doubles."""
    modules = {
        "textworld": doubles.textworld(),
        "alfworld.agents.environment.alfred_tw_env": SimpleNamespace(
            AlfredDemangler=lambda game: game
        ),
        "web_agent_site.envs": SimpleNamespace(WebAgentTextEnv=doubles.Shop),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    with webshop() as shop:
        made = {
            "gymnasium": gym,
            "parallel": partial(zoo, parallel, lambda env: env),
            "in_turn": partial(zoo, in_turn, aec),
            "textworld": partial(text_game, tmp_path, textworld.TextWorld()),
            "alfworld": partial(text_game, tmp_path, ALFWORLD),
            "webshop": lambda: Case(shop.make, goals(2), "click[next]", "search[it]"),
        }
        yield made[request.param]()


every = pytest.mark.parametrize(
    "case",
    ["gymnasium", "parallel", "in_turn", "textworld", "alfworld", "webshop"],
    indirect=True,
)


class Watched:
    """An environment that counts how often it is closed, and may block."""

    def __init__(self, env, blocked):
        self.env, self.blocked, self.closed = env, blocked, 0
        self.reset = env.reset

    def step(self, said):
        if self.blocked is not None:
            self.blocked.wait(20)
        return self.env.step(said)

    def close(self):
        self.closed += 1
        self.env.close()


def watched(case, blocked=None):
    """What makes watched environments, and all that it has made."""
    made = []

    def make(problem):
        made.append(Watched(case.make(problem), blocked))
        return made[-1]

    return make, made


async def begun(case, problem, says, **fields):
    task = SteppedTask(**{"make": case.make, "turns": doubles.LIMIT + 2, **fields})
    agents = {seat: doubles.Scripted(*says) for seat in case.seats}
    found = await played(task, Job(0, problem, 0), agents, deadline=20)
    return found, {seat: agent.asked for seat, agent in agents.items()}


def episode(case, problem, says, **fields):
    """The outcome, and what each agent was asked."""
    return asyncio.run(begun(case, problem, says, **fields))


def judgements(outcome):
    """An outcome in what can be compared."""
    agents = {
        seat: (judged.rewards, judged.turn_rewards, fingerprint(judged.anchors))
        for seat, judged in outcome.agents.items()
    }
    return agents, outcome.numbers


@every
def test_an_episode_comes_to_its_end(case):
    for problem, steps in zip(case.problems, STEPS, strict=True):
        make, made = watched(case)
        outcome, _ = episode(case, problem, [case.go] * 9, make=make)
        assert outcome.failure is None
        assert (
            outcome.numbers.items()
            >= {"episode_terminated": 1, "episode_truncated": 0}.items()
        )
        for judged in outcome.agents.values():
            assert judged.rewards == (1.0,)
            assert judged.turn_rewards == [0.0] * (steps - 1) + [1.0]
            assert len(set(map(fingerprint, judged.anchors))) == steps
        assert [env.closed for env in made] == [1]


@every
def test_an_episode_out_of_turns_is_truncated_not_terminated(case):
    outcome, asked = episode(case, case.problems[0], [case.wait] * 9, turns=3)
    assert (
        outcome.numbers.items()
        >= {"episode_terminated": 0, "episode_truncated": 1}.items()
    )
    assert {len(prompts) for prompts in asked.values()} == {3}
    for judged in outcome.agents.values():
        assert judged.rewards == (0.0,)
        assert len(judged.anchors) == 3
        assert len(set(map(fingerprint, judged.anchors))) == 1


@every
def test_an_agent_without_words_ends_the_episode(case):
    outcome, _ = episode(case, case.problems[0], [case.wait])
    assert outcome.numbers["episode_truncated"] == 1
    silent, _ = episode(case, case.problems[0], [])
    assert silent.kind == "limit"


@every
def test_what_is_no_action_costs_a_turn_and_is_told(case):
    says = ["xyzzy", case.go, case.go]
    outcome, asked = episode(case, case.problems[0], says, invalid_penalty=0.1)
    assert outcome.numbers["invalid_actions"] == len(case.seats)
    assert outcome.numbers["episode_terminated"] == 1
    for seat, judged in outcome.agents.items():
        assert judged.turn_rewards == [0.0, 0.0, 1.0]
        assert judged.penalties == [0.1, 0.0, 0.0]
        first, second, _ = map(fingerprint, judged.anchors)
        assert first == second
        before, after = (prompt[-1]["content"] for prompt in asked[seat][:2])
        assert after != before


@every
def test_equal_problems_and_replies_give_equal_episodes(case):
    first, other = case.problems
    says = [case.wait, case.go, case.go, case.go]
    outcome, asked = episode(case, first, says)
    again, asked_again = episode(case, first, says)
    assert asked == asked_again
    assert judgements(outcome) == judgements(again)
    assert asked != episode(case, other, says)[1]


@every
def test_episodes_at_once_do_not_disturb_each_other(case):
    says = [case.wait, case.go, case.go, case.go]
    alone = [episode(case, problem, says) for problem in case.problems]

    async def at_once():
        jobs = [begun(case, p, says) for p in (*case.problems, *case.problems)]
        return await asyncio.gather(*jobs)

    for found, expected in zip(asyncio.run(at_once()), [*alone, *alone], strict=True):
        assert found[1] == expected[1]
        assert judgements(found[0]) == judgements(expected[0])


class Mute:
    async def reply(self, messages, tools):
        await asyncio.sleep(60)


@every
def test_an_episode_out_of_time_is_closed(case):
    make, made = watched(case)
    agents = {seat: Mute() for seat in case.seats}
    job = Job(0, case.problems[0], 0)
    found = asyncio.run(played(SteppedTask(make), job, agents, deadline=0.2))
    assert found.kind == "timeout"
    assert [env.closed for env in made] == [1]


@every
def test_a_step_that_takes_too_long_is_left(case):
    blocked = threading.Event()
    make, made = watched(case, blocked)
    began = time.monotonic()
    failure, _ = episode(case, case.problems[0], [case.go], make=make, deadline=0.2)
    assert failure.kind == "timeout"
    assert time.monotonic() - began < 10
    assert [env.closed for env in made] == [0]
    blocked.set()
