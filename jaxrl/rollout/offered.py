"""Agents behind an OpenAI-compatible API, for programs that bring their own loop."""

import asyncio
import contextlib
import dataclasses
import json
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

from jaxrl.rollout.answers import (
    finish_reason,
    make_head,
    reply_message,
    usage,
    with_ids,
)
from jaxrl.rollout.chat import ChatAgent, InTurn, LimitReached, Reply

HOST = "127.0.0.1"
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Server Error"}
LONGEST = 64 * 2**20
"""Bytes of a request."""

T = TypeVar("T")


@dataclasses.dataclass
class Offer:
    """Agents of one episode as a server of chat completions.

    Attributes:
      url: Address for clients, with the version; nobody else can guess it.
      agents: By the name of the model that a request asks for.
      error: The first one that an agent raised.
    """

    url: str
    agents: Mapping[str, ChatAgent]
    error: Exception | None = None

    async def answer(self, method: str, url: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON for a request.

        Args:
          method: Of HTTP.
          url: That was asked for.
          body: JSON of a chat completion's request.
        """
        if url == f"{self.url}/models" and method == "GET":
            return 200, {"object": "list", "data": [{"id": n} for n in self.agents]}
        if url != f"{self.url}/chat/completions" or method != "POST":
            return _refusal(404, "there is only POST chat/completions")
        try:
            asked = json.loads(body)
            name, messages = asked["model"], asked["messages"]
            agent = self.agents[name]
        except (ValueError, TypeError, KeyError) as error:
            return _refusal(400, f"the request has no such field, or model: {error!r}")
        if not isinstance(messages, list) or asked.get("stream"):
            return _refusal(400, "messages must be a list, and stream left out")
        try:
            reply = await agent.reply(messages, asked.get("tools") or ())
        except Exception as error:
            self.error = self.error or error
            # Clients try again after 500, which is no use where there is no room.
            status = 400 if isinstance(error, LimitReached) else 500
            return _refusal(status, f"{type(error).__name__}: {error}")
        return 200, _completion(name, reply)


@contextlib.asynccontextmanager
async def offered(agents: Mapping[str, ChatAgent]) -> AsyncIterator[Offer]:
    """Serve agents on this machine while the block runs.

    `Offer.error` says whether an agent failed, which programs may hide. Requests to one
    agent are answered one after another, and given up where the client hangs up.

    Args:
      agents: By the name of the model that a request asks for.
    """
    offer = Offer("", {name: InTurn(agent) for name, agent in agents.items()})
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(task := asyncio.current_task())
        with contextlib.suppress(OSError, EOFError, ValueError):
            method, url, body = await _request(reader)
            answer = offer.answer(method, f"{address}{url}", body)
            status, found = await _unless_gone(reader, answer)
            sent = json.dumps(found).encode()
            writer.write(
                f"HTTP/1.1 {status} {REASONS[status]}\r\n"
                "Content-Type: application/json\r\n"
                f"Content-Length: {len(sent)}\r\nConnection: close\r\n\r\n".encode()
                + sent
            )
            await writer.drain()
        writer.close()
        serving.discard(task)

    server = await asyncio.start_server(serve, HOST, 0)
    address = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    offer.url = f"{address}/{secrets.token_urlsafe(16)}/v1"
    try:
        yield offer
    finally:
        server.close()
        for task in filter(None, serving):
            task.cancel()


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Method, path and body of a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ", 2)
    fields = dict(line.lower().split(":", 1) for line in lines if ":" in line)
    size = min(int(fields.get("content-length", 0)), LONGEST)
    return method, path, await reader.readexactly(size)


async def _unless_gone(
    reader: asyncio.StreamReader, wanted: Coroutine[Any, Any, T]
) -> T:
    """Wait for a result as long as the client does; an EOFError says that it left."""
    gone, work = asyncio.ensure_future(_gone(reader)), asyncio.ensure_future(wanted)
    try:
        await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise EOFError("the client has hung up")
        return work.result()
    finally:
        gone.cancel()
        work.cancel()


async def _gone(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(LONGEST):
            pass


def _refusal(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": REASONS[status]}}


def _completion(model: str, reply: Reply) -> Any:
    """A reply as the API writes it."""
    choice = {
        "index": 0,
        "message": reply_message(with_ids(reply)),
        "finish_reason": finish_reason(reply.finished, reply.tool_calls),
    }
    counted = usage(reply.prompt_tokens, reply.completion_tokens)
    return make_head("chat.completion", model).holding([choice], usage=counted)
