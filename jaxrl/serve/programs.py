"""Episodes that an outside program plays, through an OpenAI-compatible address.

The program knows nothing of training. It is given a base URL of its own; whatever it
asks there is answered by the policy, in the run's engine, and recorded token-exactly.
"""

import asyncio
import contextlib
import dataclasses
import inspect
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from jaxrl.rollout.answers import (
    finish_reason,
    make_head,
    reply_message,
    usage,
    with_ids,
)
from jaxrl.rollout.chat import ChatAgent, InTurn, LimitReached, Reply
from jaxrl.rollout.environment import Judged, Outcome, Play
from jaxrl.rollout.stage import in_thread, judged
from jaxrl.rollout.types import Problem, Reward
from jaxrl.serve.answers import message_delta
from jaxrl.serve.app import show_models
from jaxrl.serve.errors import RequestError
from jaxrl.serve.http import (
    Endpoint,
    Respond,
    application,
    events,
    read_body,
    serving,
    unless_gone,
)
from jaxrl.serve.messages import read_messages, read_tools
from jaxrl.serve.requests import read_json, read_model, read_usage

MODEL = "policy"
"""Name under which programs find the policy."""
KEY = "none"
"""What programs show as API key; any does."""
REWARD_DEADLINE = 10.0
"""Seconds for the rewards of an episode."""
SHOWN = 500
"""Characters of a program's error that a record keeps."""

Program = Callable[[Problem, str], str | Awaitable[str]]
"""From the task and a base URL to what is rewarded. An ordinary function runs in a
thread, which at the episode's deadline is left; `command` can be killed."""


def run_program(
    program: Program, rewards: tuple[Reward, ...], *, agent: str = "policy"
) -> Callable[[], AbstractContextManager[Play]]:
    """An environment, for `Environment.open`, in which a program plays.

    The run says how tokens are drawn: temperature, limits and the like that the program
    asks for are not obeyed. Requests of one episode are answered one after another.

    Args:
      program: Plays one episode.
      rewards: One function per reward channel, of the problem and what it returned.
      agent: The seat that the program speaks with.
    """
    return partial(_opened, program, rewards, agent)


def command(*argv: str) -> Program:
    """A program in a process of its own, which is killed with the episode.

    It reads `{"id": ..., "prompt": ...}` from its standard input, the variables
    OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL, and writes what is rewarded to its
    standard output. It is no sandbox: `jaxrl.sandbox` confines what a model wrote.

    Args:
      *argv: The program and its arguments.
    """

    async def run(problem: Problem, url: str) -> str:
        names = {
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_MODEL": MODEL,
        }
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**os.environ, **names},
            start_new_session=True,
        )
        asked = json.dumps({"id": problem.id, "prompt": problem.prompt}).encode()
        try:
            out, error = await process.communicate(asked)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode:
            told = error.decode(errors="replace").strip()[-SHOWN:]
            raise RuntimeError(f"{argv[0]} ended with {process.returncode}: {told}")
        return out.decode(errors="replace")

    return run


@dataclasses.dataclass(frozen=True)
class _Line:
    """Where requests to one episode are answered.

    Attributes:
      agent: Who answers.
      loop: In which the agent lives.
      turns: Requests that are being answered or wait for their turn.
    """

    agent: ChatAgent
    loop: asyncio.AbstractEventLoop
    turns: set[asyncio.Task[Any]]

    async def reply(self, body: Mapping[str, Any]) -> Reply:
        """Answer a conversation, in the agent's loop."""
        task = asyncio.current_task()
        assert task is not None
        self.turns.add(task)
        try:
            return await self.agent.reply(read_messages(body), read_tools(body))
        finally:
            self.turns.discard(task)


@contextlib.contextmanager
def _opened(
    program: Program, rewards: tuple[Reward, ...], agent: str
) -> Iterator[Play]:
    lines: dict[str, _Line] = {}
    answer, models = partial(_answer, lines), partial(show_models, MODEL, None)
    base = "/episodes/{name}/v1"
    app = application(
        [
            Route(f"{base}/models", Endpoint(models), methods=["GET"]),
            Route(f"{base}/chat/completions", Endpoint(answer), methods=["POST"]),
        ]
    )
    with serving(app, "127.0.0.1", 0) as address:

        async def play(problem: Problem, agents: Mapping[str, ChatAgent]) -> Outcome:
            name, loop = secrets.token_hex(8), asyncio.get_running_loop()
            lines[name] = _Line(InTurn(agents[agent]), loop, set())
            try:
                url = f"{address}/episodes/{name}/v1"
                text = await _played(program, problem, url)
            finally:
                for turn in lines.pop(name).turns:
                    turn.cancel()
            found = await judged(rewards, problem, text, deadline=REWARD_DEADLINE)
            return Outcome({agent: Judged(found)})

        yield play


async def _played(program: Program, problem: Problem, url: str) -> str:
    if inspect.iscoroutinefunction(program):
        return await program(problem, url)
    found = await in_thread(program, problem, url)
    return await found if inspect.isawaitable(found) else found


async def _answer(lines: dict[str, _Line], request: Request, respond: Respond) -> None:
    line = lines.get(request.path_params["name"])
    if line is None:
        raise RequestError(HTTPStatus.NOT_FOUND, "there is no such episode any more")
    body = read_json(await read_body(request))
    read_model(body, MODEL)
    if body.get("n") not in (None, 1) or body.get("logprobs"):
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "n must be 1, and logprobs false, in training"
        )
    reply = with_ids(await unless_gone(request, _replied(line, body)))
    reason = finish_reason(reply.finished, reply.tool_calls)
    message, index = reply_message(reply), {"index": 0, "finish_reason": reason}
    counted = usage(reply.prompt_tokens, reply.completion_tokens)
    if body.get("stream"):
        head = make_head("chat.completion.chunk", MODEL)

        async def pieces() -> AsyncIterator[dict[str, Any]]:
            yield head.holding([{**index, "delta": message_delta(message)}])
            if read_usage(body):
                yield head.holding([], usage=counted)

        return await respond(events(pieces()))
    head = make_head("chat.completion", MODEL)
    choice = {**index, "message": message, "logprobs": None}
    await respond(JSONResponse(head.holding([choice], usage=counted)))


async def _replied(line: _Line, body: Mapping[str, Any]) -> Reply:
    future = asyncio.run_coroutine_threadsafe(line.reply(body), line.loop)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        gone = RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "the episode has ended")
        raise gone from None
    except RequestError:
        raise
    except LimitReached as error:
        raise RequestError(
            HTTPStatus.BAD_REQUEST, str(error), "messages", "context_length_exceeded"
        ) from None
    except Exception as error:
        print(f"jaxrl: an episode's turn failed: {error!r}", file=sys.stderr)
        raise RequestError(
            HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}"
        ) from None
