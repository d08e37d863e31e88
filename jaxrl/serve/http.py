"""HTTP in a background thread: endpoints, bodies, clients that leave."""

import asyncio
import contextlib
import dataclasses
import hmac
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from http import HTTPStatus
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from jaxrl.errors import UserError
from jaxrl.serve.errors import RequestError

LARGEST_BODY = 2**22
"""Bytes of a request."""
BACKLOG = 1024
GRACE = 5
"""Seconds for connections to end when the server does."""

T = TypeVar("T")

Respond = Callable[[Response], Awaitable[None]]
"""Sends a response."""
Handler = Callable[[Request, Respond], Awaitable[None]]
"""Answers a request; what it holds while it does, it lets go when the client left."""
Guard = Callable[[Handler], Handler]
"""Puts something in front of a handler."""


def guarded(key: str | None) -> Guard:
    """Have clients show an API key, if there is one."""

    def guard(handler: Handler) -> Handler:
        async def ask(request: Request, respond: Respond) -> None:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {key}".encode()):
                raise RequestError(
                    HTTPStatus.UNAUTHORIZED, "the API key is missing or wrong"
                )
            await handler(request, respond)

        return handler if key is None else ask

    return guard


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A handler as an ASGI application."""

    handler: Handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, if only by an error."""
        request = Request(scope, receive)

        async def respond(response: Response) -> None:
            await response(scope, receive, send)

        try:
            await self.handler(request, respond)
        except RequestError as error:
            await respond(refusal(error))
        except ClientDisconnect:
            pass


def refusal(error: RequestError) -> Response:
    """An error as a response."""
    return JSONResponse(error.body, error.status, error.headers)


def application(routes: list[BaseRoute]) -> ASGIApp:
    """Routes, with OpenAI's form for the errors of the framework."""

    def explain(request: Request, error: Exception) -> Response:
        del request
        if isinstance(error, HTTPException):
            status = HTTPStatus(error.status_code)
            return refusal(RequestError(status, error.detail))
        # Its traceback goes to the log.
        wrong = HTTPStatus.INTERNAL_SERVER_ERROR
        return refusal(RequestError(wrong, "the server made a mistake"))

    handlers = {HTTPException: explain, Exception: explain}
    return Starlette(routes=routes, exception_handlers=handlers)


async def read_body(request: Request) -> bytes:
    """The body; all of a larger one is received and dropped before it is refused."""
    content, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= LARGEST_BODY:
            content += chunk
    if size > LARGEST_BODY:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body has {size} bytes; {LARGEST_BODY} are read at most",
        )
    return bytes(content)


async def unless_gone(request: Request, wanted: Coroutine[Any, Any, T]) -> T:
    """Wait for a result as long as the client does.

    Args:
      request: Whose body was read.
      wanted: Cancelled where the client leaves.

    Raises:
      ClientDisconnect: It left.
    """
    gone, work = asyncio.ensure_future(_gone(request)), asyncio.ensure_future(wanted)
    # Of one that is left behind, nobody else looks at how it ends.
    work.add_done_callback(lambda work: work.cancelled() or work.exception())
    try:
        await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        gone.cancel()
        work.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def events(pieces: AsyncIterator[Any]) -> Response:
    """A stream of JSON as server-sent events; an error becomes the last of them."""

    async def lines() -> AsyncIterator[str]:
        try:
            async for piece in pieces:
                yield f"data: {json.dumps(piece)}\n\n"
        except RequestError as error:
            yield f"data: {json.dumps(error.body)}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


@contextlib.contextmanager
def serving(app: ASGIApp, host: str, port: int) -> Iterator[str]:
    """Serve in a thread until the block ends; yields the address.

    Args:
      app: What is served.
      host: Name or address of an interface.
      port: 0 takes a free one.

    Raises:
      UserError: If the port can't be had.
      RuntimeError: If the thread ends before it serves.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"host is {host} and port {port}: {error}; choose another port, or 0 for "
            "any that is free"
        ) from None
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=GRACE,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, args=([listening],), name="jaxrl-http", daemon=True
    )
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        if not server.started:
            raise RuntimeError("the HTTP thread ended before it served")
        named = f"[{host}]" if family is socket.AF_INET6 else host
        yield f"http://{named}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(2 * GRACE)
        listening.close()
