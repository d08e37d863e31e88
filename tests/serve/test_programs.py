"""Programs that know nothing of training, played and trained through an address."""

import asyncio
import json
import os
import sys

import openai
import pytest

from jaxrl.config import (
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    Rollouts,
    RunConfig,
)
from jaxrl.methods.grpo import Grpo
from jaxrl.rollout.chat import LimitReached, Reply, ToolCall
from jaxrl.rollout.environment import Environment
from jaxrl.rollout.types import Problem
from jaxrl.serve.programs import KEY, MODEL, command, run_program
from jaxrl.train import train
from tests import tiny, tiny_environments, tiny_rewards
from tests.tiny_runs import metrics

PROBLEM = Problem("7", "12", "3")
ADD = tiny_environments.ADD.declaration


class Scripted:
    """Adds where it may, says how often it was asked, and stops at three."""

    def __init__(self):
        self.asked = []

    async def reply(self, messages, tools):
        self.asked.append(messages)
        if len(self.asked) > 3:
            raise LimitReached("the agent has had its 3 turns")
        await asyncio.sleep(0.01)
        calls = (ToolCall("add", {"first": "1"}),) if tools else ()
        return Reply("" if calls else f"turn {len(self.asked)}", calls, 3, 2)


def played(program, rewards=(lambda problem, text: len(text),), agent=None):
    """The outcome of one episode, and what the agent was asked."""
    agent = agent or Scripted()
    with run_program(program, rewards)() as play:
        return asyncio.run(play(PROBLEM, {"policy": agent})), agent


def ask(client, *contents, **options):
    messages = [{"role": "user", "content": content} for content in contents]
    return client.chat.completions.create(model=MODEL, messages=messages, **options)


def harness(problem, url):
    """Two turns by OpenAI's client; returns the last text."""
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [MODEL]
        ask(client, problem.prompt, temperature=0.1)
        return ask(client, problem.prompt, "and?").choices[0].message.content


async def async_harness(problem, url):
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
        await ask(client, problem.prompt)
        stream = await ask(client, problem.prompt, "and?", stream=True)
        pieces = [piece async for piece in stream]
    return "".join(p.choices[0].delta.content or "" for p in pieces)


SCRIPT = """
import json, os, sys, urllib.request
task = json.load(sys.stdin)
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
for turn in range(2):
    body = {"model": os.environ["OPENAI_MODEL"],
            "messages": [{"role": "user", "content": task["prompt"]}]}
    request = urllib.request.Request(url, json.dumps(body).encode())
    answer = json.load(urllib.request.urlopen(request))
print(answer["choices"][0]["message"]["content"], end="")
"""


@pytest.mark.parametrize(
    "program",
    [harness, async_harness, command(sys.executable, "-c", SCRIPT)],
    ids=["thread", "async", "process"],
)
def test_a_program_plays_through_its_address(program):
    outcome, agent = played(program)
    assert outcome.agents["policy"].rewards == (len("turn 2"),)
    assert [m["content"] for m in agent.asked[0]] == [PROBLEM.prompt]
    assert len(agent.asked) == 2


def test_a_stream_counts_its_tokens_only_where_that_is_asked_for():
    def program(problem, url):
        counted = {"stream": True, "stream_options": {"include_usage": True}}
        with openai.OpenAI(base_url=url, api_key=KEY) as client:
            *_, last = ask(client, "1", **counted)
            assert all(piece.choices for piece in ask(client, "1", stream=True))
        return f"{len(last.choices)} {last.usage.total_tokens}"

    def reward(problem, text):
        return float(text == "0 5")

    assert played(program, (reward,))[0].agents["policy"].rewards == (1.0,)


def test_calls_of_tools_reach_the_program():
    def program(problem, url):
        with openai.OpenAI(base_url=url, api_key=KEY) as client:
            [choice] = ask(client, "1", tools=[ADD]).choices
        [call] = choice.message.tool_calls
        return f"{choice.finish_reason} {call.function.arguments}"

    def reward(problem, text):
        return float(text == 'tool_calls {"first": "1"}')

    assert played(program, (reward,))[0].agents["policy"].rewards == (1.0,)


def test_requests_of_one_episode_wait_for_each_other():
    busy = []

    class Single(Scripted):
        async def reply(self, messages, tools):
            busy.append(1)
            assert len(busy) == 1
            found = await super().reply(messages, tools)
            busy.pop()
            return found

    async def program(problem, url):
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
            await asyncio.gather(*(ask(client, "1") for _ in range(3)))
        return "done"

    assert len(played(program, agent=Single())[1].asked) == 3


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"n": 2}, 400, "n must be 1"),
        ({"logprobs": True}, 400, "logprobs false"),
        ({"model": "gpt"}, 404, "this is 'policy'"),
        ({"messages": []}, 400, "at least one"),
    ],
)
def test_what_training_cannot_give_is_an_error(options, status, message):
    def program(problem, url):
        fields = {"model": MODEL, "messages": [{"role": "user", "content": "1"}]}
        with openai.OpenAI(base_url=url, api_key=KEY) as client:
            client.chat.completions.create(**{**fields, **options})

    with pytest.raises(openai.APIStatusError, match=message) as caught:
        played(program)
    assert caught.value.status_code == status


def test_a_program_is_told_when_there_is_no_room():
    async def program(problem, url):
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
            for _ in range(4):
                await ask(client, "1")
        return ""

    with pytest.raises(openai.BadRequestError, match="has had its 3 turns") as caught:
        played(program)
    assert caught.value.code == "context_length_exceeded"


def test_an_address_dies_with_its_episode():
    kept = []
    with run_program(lambda _, url: kept.append(url) or "", ())() as play:
        asyncio.run(play(PROBLEM, {"policy": Scripted()}))
        with (
            openai.OpenAI(base_url=kept[0], api_key=KEY, max_retries=0) as client,
            pytest.raises(openai.NotFoundError, match="no such episode any more"),
        ):
            ask(client, "1")


def test_a_turn_under_way_ends_with_its_episode():
    ended = []

    class Slow(Scripted):
        async def reply(self, messages, tools):
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

    async def program(problem, url):
        options = {"api_key": KEY, "max_retries": 0, "timeout": 10}
        client = openai.AsyncOpenAI(base_url=url, **options)
        asking = asyncio.ensure_future(ask(client, "1"))
        await asyncio.wait([asking], timeout=0.2)
        refused.append((client, asking))
        return ""

    async def use(play):
        await play(PROBLEM, {"policy": Slow()})
        [(client, asking)] = refused
        with pytest.raises(openai.InternalServerError, match="the episode has ended"):
            await asking
        await client.close()

    refused = []
    with run_program(program, ())() as play:
        asyncio.run(use(play))
    assert ended == [True]


def test_a_process_that_fails_says_why():
    program = command(sys.executable, "-c", "raise SystemExit('no luck')")
    with pytest.raises(RuntimeError, match="ended with 1: no luck"):
        played(program)


def test_a_process_is_killed_with_its_episode(tmp_path):
    path = tmp_path / "pid"
    script = f"import os, time; open({str(path)!r}, 'w').write(str(os.getpid())); "
    program = command(sys.executable, "-c", script + "time.sleep(60)")

    async def cut_off(play):
        playing = asyncio.ensure_future(play(PROBLEM, {"policy": Scripted()}))
        while not (path.exists() and path.read_text()):
            await asyncio.sleep(0.01)
        playing.cancel()
        await asyncio.wait([playing])
        return playing.cancelled()

    with run_program(program, ())() as play:
        assert asyncio.run(cut_off(play))
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


def adding(problem, url):
    """Two turns with a tool; what was said is judged."""
    messages = [{"role": "user", "content": problem.prompt}]
    texts = []
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        for _ in range(2):
            said = client.chat.completions.create(
                model=MODEL, messages=messages, tools=[ADD]
            )
            message = said.choices[0].message
            texts.append(message.content or "")
            messages.append(message.model_dump(exclude_none=True))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "3"}
                for call in message.tool_calls or ()
            ]
            messages.append({"role": "user", "content": "7"})
    return json.dumps(texts)


def digits(problem, text):
    texts = json.loads(text)
    return sum(tiny_rewards.share_of_digits(problem, one) for one in texts)


@pytest.mark.slow
def test_a_policy_learns_from_a_program_that_speaks_openais_protocol(tmp_path):
    environment = Environment(
        run_program(adding, (digits,)),
        parse=tiny_environments.sums,
        template=tiny_environments.template,
        max_turns=2,
    )
    config = RunConfig(
        name="program",
        mesh=MeshConfig(fsdp=1),
        data=Rollouts(
            tiny.problems(10),
            prompts_per_step=4,
            samples_per_prompt=4,
            max_prompt_tokens=48,
            max_new_tokens=8,
            environment=environment,
        ),
        method=Grpo(),
        model=ModelConfig(path=tiny.write_policy(tmp_path / "policy")),
        optimizer=OptimizerConfig(learning_rate=3e-3, micro_batches=2),
        logging=LoggingConfig(progress=False),
        steps=2,
        output=tmp_path,
    )
    with tiny.cached_compilation():
        train(config)
    rows = metrics(config.directory)
    assert len(rows) == 2
    for row in rows:
        assert row["turns"] == 2
        assert row["logp_gap"] < 1e-4
        assert row["grad_norm"] > 0
        assert row["skipped"] == row["reward_failures"] == 0
