"""Episodes beside the device: what goes wrong in them, and what they depend on."""

import asyncio
import dataclasses
import random
import threading
import time
from functools import partial

import numpy as np
import pytest

from jaxrl.data.templates import language
from jaxrl.errors import UserError
from jaxrl.rollout.agent_runner import AgentRunner, Seat
from jaxrl.rollout.chat import Reply
from jaxrl.rollout.environment import Environment, Judged, Outcome, TrainedPolicy, plain
from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.shapes import sampler_shape
from jaxrl.rollout.stage import Stage
from jaxrl.rollout.types import Failure, Sampling
from tests import tiny, tiny_environments

SAMPLING = Sampling(8, stop_tokens=(tiny.EOS,))
SHAPE = sampler_shape(prompts=8, samples=1, max_prompt_tokens=32, max_new_tokens=8)
SEED = (0, 3)
PATIENT = 5.0
NEVER = threading.Event()

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def sampler():
    made = Sampler(tiny.MODEL, tiny.params(), SHAPE)
    list(made.compile(SAMPLING, opened=True))
    return made


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.close()


def runner(sampler, stage, play, *, others=None, seats=("policy",), **fields):
    spoken = language(
        tiny.tokenizer(),
        template=tiny_environments.template,
        parse=tiny_environments.sums,
    )
    agents = dict.fromkeys(seats, TrainedPolicy())
    part = Environment(plain(play), agents=agents, max_turns=2, **fields)
    return AgentRunner(
        play=play,
        part=part,
        seats={name: Seat(spoken, 32, "policy") for name in seats},
        others=others or {},
        engines={"policy": partial(sampler.open, SAMPLING)},
        server=None,
        stage=stage,
        samples=2,
        decode=str,
    )


def tokens(episodes):
    return [
        [turn.completion.tokens.tolist() for trace in e.traces for turn in trace.turns]
        for e in episodes
    ]


def bits(episodes):
    return [
        [
            (turn.completion.tokens.tobytes(), turn.completion.logp.tobytes())
            for trace in e.traces
            for turn in trace.turns
        ]
        for e in episodes
    ]


def failures(episodes):
    return [e.traces[0].failure and e.traces[0].failure.kind for e in episodes]


def test_an_episode_holds_what_was_sampled_and_judged(sampler, stage):
    play = tiny_environments.two_turns
    episodes = runner(sampler, stage, play).collect(tiny.problems(3), SEED)
    assert [e.group for e in episodes] == [0, 0, 1, 1, 2, 2]
    for episode in episodes:
        [trace] = episode.traces
        first, second = trace.turns
        assert (first.channel, second.channel) == (0, 1)
        assert first.anchor == episode.problem.prompt
        assert sum(t.reward for t in trace.turns) == pytest.approx(trace.rewards[0])
        exact = [*first.prompt, *first.completion.tokens]
        assert second.prompt[: len(exact)].tolist() == exact
        assert episode.numbers["turns"] == 2
        assert episode.numbers["told"] == 1


async def wandering(problem, agents):
    """Two turns, with tools that take times of their own."""
    messages = [{"role": "user", "content": problem.prompt}]
    for _ in range(2):
        reply = await agents["policy"].reply(messages, ())
        await asyncio.sleep(random.Random(time.monotonic_ns()).random() * 0.02)
        messages = [*messages, {"role": "assistant", "content": reply.text}]
        messages += [{"role": "user", "content": "1"}]
    return Outcome({"policy": Judged((1.0,))})


@pytest.mark.parametrize("concurrency", [1, 3, 64])
def test_tokens_depend_neither_on_tools_times_nor_on_company(
    sampler, stage, concurrency
):
    asked = tiny.problems(6)
    expected = runner(sampler, stage, wandering).collect(asked, SEED)
    found = runner(sampler, stage, wandering, concurrency=concurrency)
    assert tokens(found.collect(asked, SEED)) == tokens(expected)
    assert tokens(found.collect(asked, (0, 4))) != tokens(expected)


def test_episodes_that_go_on_at_once_repeat_their_bits(sampler, stage):
    play = tiny_environments.two_turns
    made = runner(sampler, stage, play, patience=PATIENT, concurrency=5)
    runs = [bits(made.collect(tiny.problems(6), SEED)) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


def test_episodes_differ_in_number_where_the_step_says_so(sampler, stage):
    made = runner(sampler, stage, wandering)
    episodes = made.start(tiny.problems(3), SEED, [1, 0, 3])()
    assert [e.group for e in episodes] == [0, 2, 2, 2]


async def raises(problem, agents):
    await agents["policy"].reply([{"role": "user", "content": "1"}], ())
    raise KeyError("as an example")


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("as an example")


async def raises_what_says_nothing(problem, agents):
    raise Unspeakable


async def exits(problem, agents):
    raise SystemExit(3)


async def exits_in_a_task(problem, agents):
    async with asyncio.TaskGroup() as group:
        group.create_task(exits(problem, agents))


async def exits_in_a_group(problem, agents):
    raise BaseExceptionGroup("as of anyio", [SystemExit(3)])


async def talks_on_beside_others(problem, agents):
    async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as group:
        outer.create_task(hangs(problem, agents))
        group.create_task(raises_in_the_end(problem, agents))
        group.create_task(talks_on(problem, agents))


async def raises_in_the_end(problem, agents):
    try:
        await hangs(problem, agents)
    except asyncio.CancelledError:
        raise KeyError("as an example") from None


async def cancels(problem, agents):
    tool = asyncio.ensure_future(asyncio.sleep(60))
    tool.cancel()
    await tool


async def hangs(problem, agents):
    await asyncio.sleep(60)


async def ignores_its_end(problem, agents):
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


async def talks_on(problem, agents):
    messages = [{"role": "user", "content": "1"}]
    while True:
        await agents["policy"].reply(messages, ())


async def says_too_much(problem, agents):
    await agents["policy"].reply([{"role": "user", "content": "1" * 40}], ())


def ending(outcome):
    async def play(problem, agents):
        await agents["policy"].reply([{"role": "user", "content": "1"}], ())
        return outcome

    return play


BROKEN = {
    "raises": (raises, "error", "KeyError: 'as an example'"),
    "raises what says nothing": (raises_what_says_nothing, "error", "Unspeakable"),
    "exits": (exits, "error", "SystemExit"),
    "exits in a task": (exits_in_a_task, "error", "SystemExit"),
    "exits in a group": (exits_in_a_group, "error", "SystemExit"),
    "cancels": (cancels, "error", "the environment was cancelled"),
    "hangs": (hangs, "timeout", "more than 0.5 s"),
    "ignores its end": (ignores_its_end, "timeout", "more than 0.5 s"),
    "talks on": (talks_on, "limit", "2 turns"),
    "talks on beside others": (talks_on_beside_others, "limit", "2 turns"),
    "says too much": (says_too_much, "limit", "41 tokens.* reads 32"),
    "returns nothing": (ending(None), "malformed", "NoneType"),
    "judges nobody": (ending(Outcome({})), "malformed", "nothing of policy"),
    "two rewards": (
        ending(Outcome({"policy": Judged((1.0, 2.0))})),
        "malformed",
        "not 1 finite",
    ),
    "not a number": (
        ending(Outcome({"policy": Judged((float("nan"),))})),
        "malformed",
        "not 1 finite",
    ),
    "too many turns": (
        ending(Outcome({"policy": Judged((1.0,), (1.0, 2.0))})),
        "malformed",
        "1 turns and 2 turn_rewards",
    ),
    "anchors of no kind": (
        ending(Outcome({"policy": Judged((1.0,), anchors=[{1, 2}])})),
        "malformed",
        "unhashable",
    ),
    "no rewards": (
        ending(Outcome({"policy": Judged((0.0,))}, failure=Failure("crash", "db"))),
        "crash",
        "db",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_episode_is_a_record_and_the_others_go_on(sampler, stage, name):
    play, kind, message = BROKEN[name]

    async def sometimes(problem, agents):
        chosen = play if problem.id == "1" else tiny_environments.two_turns
        return await chosen(problem, agents)

    made = runner(sampler, stage, sometimes, episode_deadline=0.5)
    episodes = made.collect(tiny.problems(3), SEED)
    assert failures(episodes) == [None, None, kind, kind, None, None]
    failure = episodes[2].traces[0].failure
    with pytest.raises(ValueError, match=message):
        raise ValueError(failure.message)
    assert [sum(t.rewards) for t in episodes[2].traces] == [0.0]


def test_a_reply_that_comes_too_late_is_withdrawn(sampler, stage):
    rows = []

    def opened(seed):
        session = sampler.open(SAMPLING, seed)
        submit = session.submit

        def kept(*asked):
            rows.extend(found := submit(*asked))
            return found

        session.submit = kept
        return session

    made = runner(sampler, stage, wandering, turn_deadline=1e-4)
    made = dataclasses.replace(made, engines={"policy": opened})
    with pytest.raises(UserError, match="all 2 episodes failed, the first by timeout"):
        made.collect(tiny.problems(1), SEED)
    assert len(rows) == 2
    assert not any(row.live or row.finished for row in rows)


def test_a_blocked_thread_costs_its_episodes_alone(sampler, stage):
    async def blocks(problem, agents):
        if problem.id == "2":
            NEVER.wait(20)
        return await tiny_environments.two_turns(problem, agents)

    made = runner(sampler, stage, blocks, episode_deadline=1.0, concurrency=2)
    episodes = made.collect(tiny.problems(3), SEED)
    # The other of the two that are live at once may be lost with it.
    assert failures(episodes)[:3] == [None] * 3
    assert failures(episodes)[4:] == ["timeout"] * 2
    assert "test_agent_runner.py" in episodes[4].traces[0].failure.message
    again = runner(sampler, stage, tiny_environments.two_turns)
    assert failures(again.collect(tiny.problems(2), SEED)) == [None] * 4


@pytest.mark.parametrize(
    ("play", "message"),
    [
        (raises, r"all 4 episodes failed, the first by error: KeyError"),
        (hangs, r"all 4 episodes failed, the first by timeout"),
    ],
)
def test_if_all_episodes_fail_the_run_says_why(sampler, stage, play, message):
    with pytest.raises(UserError, match=message):
        runner(sampler, stage, play, episode_deadline=0.3).collect(
            tiny.problems(2), SEED
        )


def alone(error):
    raise error


def among_others(error):
    raise ExceptionGroup("tools", [KeyError(1), ExceptionGroup("db", [error])])


@pytest.mark.parametrize("fail", [alone, among_others])
def test_a_mistake_of_the_user_ends_the_run(sampler, stage, fail):
    async def lost(problem, agents):
        fail(UserError("there is no database"))

    with pytest.raises(UserError, match="there is no database"):
        runner(sampler, stage, lost).collect(tiny.problems(2), SEED)


async def debate(problem, agents):
    """Two agents speak at once, a judge without tokens decides."""
    opening = [{"role": "user", "content": problem.prompt}]
    async with asyncio.TaskGroup() as group:
        both = [
            group.create_task(agents[name].reply(opening, ()))
            for name in ("pro", "con")
        ]
    said = [task.result().text for task in both]
    verdict = await agents["judge"].reply([{"role": "user", "content": said[0]}], ())
    won = float(verdict.text == "yes")
    return Outcome({"pro": Judged((won,)), "con": Judged((1 - won,), trainable=False)})


@dataclasses.dataclass(frozen=True)
class Judge:
    """Prefers what is long."""

    async def reply(self, messages, tools):
        return Reply("yes" if len(messages[0]["content"]) > 6 else "no")


def test_several_agents_have_traces_of_their_own(sampler, stage):
    made = runner(
        sampler,
        stage,
        debate,
        seats=("pro", "con"),
        others={"judge": Judge()},
        patience=PATIENT,
    )
    episodes = made.collect(tiny.problems(3), SEED)
    for episode in episodes:
        assert [trace.agent for trace in episode.traces] == ["pro", "con"]
        assert [trace.trainable for trace in episode.traces] == [True, False]
        assert sum(trace.rewards[0] for trace in episode.traces) == 1
    drawn = tokens(episodes)
    assert all(pro != con for pro, con in drawn)
    assert bits(made.collect(tiny.problems(3), SEED)) == bits(episodes)


def test_a_reward_of_the_episode_falls_to_its_last_turn(sampler, stage):
    made = runner(sampler, stage, wandering)
    [trace] = made.collect(tiny.problems(1), SEED)[0].traces
    assert [turn.reward for turn in trace.turns] == [0.0, 1.0]
    assert np.isfinite(trace.turns[0].completion.logp).all()
