"""A chat agent behind a server with an OpenAI-compatible API."""

import dataclasses
import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrl.errors import UserError
from jaxrl.rollout.chat import Reply, Tool, ToolCall
from jaxrl.rollout.endpoint import (
    FORBIDDEN,
    TROUBLE,
    UNAUTHORIZED,
    Endpoint,
    check_address,
    check_limits,
)
from jaxrl.rollout.http_json import StatusError
from jaxrl.rollout.logprobs import AnswerError
from jaxrl.rollout.stage import in_thread
from jaxrl.rollout.types import Message


class RefusedError(Exception):
    """A server that is there gives no reply to one conversation; says why."""


@dataclasses.dataclass(frozen=True)
class ChatServer:
    """A model that answers as an agent; each request is of one agent alone.

    The API key is read from the environment at every request, and appears in no
    message.

    Attributes:
      url: With the version, as in http://localhost:8000/v1.
      model: Name under which the server lists the model.
      api_key_env: Environment variable with the API key; None sends none.
      sampling: Further fields of requests, such as temperature, max_tokens and seed;
        without them the server decides.
      concurrency: Requests at once; further ones wait.
      deadline: Seconds for one reply, all attempts together, without that wait.
      attempts: Requests for one reply, at most.
      wait: Seconds before the second attempt; doubled before each further one.
    """

    url: str
    model: str
    api_key_env: str | None = None
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    concurrency: int = 16
    deadline: float = 600.0
    attempts: int = 4
    wait: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what can't work, without asking the server."""
        check_address("server", self.url)
        check_limits(
            "server",
            {"concurrency": self.concurrency, "attempts": self.attempts},
            {"deadline": self.deadline},
        )

    @property
    def endpoint(self) -> Endpoint:
        """How the server is asked."""
        return Endpoint(
            field="server.url",
            url=self.url,
            end="where /models and /chat/completions begin",
            api_key_env=self.api_key_env,
            attempts=self.attempts,
            wait=self.wait,
        )

    def check(self) -> None:
        """Raise one error for whatever would make every request fail."""
        self.endpoint.card(self.model, deadline=self.deadline)

    def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """See `ChatAgent.reply`; waits for the answer.

        Raises:
          RefusedError: There is none to this conversation, perhaps for its length.
          UserError: There is no server any more.
        """
        body = {"model": self.model, "messages": [*messages], "stream": False}
        body |= self.sampling
        if tools:
            body["tools"] = [*tools]
        try:
            with self._places:
                expires = time.monotonic() + self.deadline
                answer = self.endpoint.exchange("chat/completions", body, expires)
            return reply_of(answer)
        except UserError:
            raise
        except TROUBLE as error:
            explained = self.endpoint.explained(error)
            if _is_of_one_request(error):
                raise RefusedError(explained) from None
            raise UserError(
                f"server.url is {self.url}: {explained}; {self.endpoint.remedy(error)}"
            ) from None

    @property
    def _places(self) -> threading.BoundedSemaphore:
        # Not before it is needed, as it can't be pickled; one, whoever is first.
        places = threading.BoundedSemaphore(self.concurrency)
        return vars(self).setdefault("_shared_places", places)


@dataclasses.dataclass(frozen=True)
class ServedAgent:
    """A seat at a `ChatServer`; see `ChatAgent`.

    Attributes:
      server: Who answers.
    """

    server: ChatServer

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """See `ChatAgent`."""
        return await in_thread(self.server.ask, messages, tools)


def _is_of_one_request(error: Exception) -> bool:
    if isinstance(error, StatusError):
        return not error.passing and error.status not in (UNAUTHORIZED, FORBIDDEN)
    return isinstance(error, TimeoutError | ValueError | RecursionError)


def reply_of(answer: Any) -> Reply:
    """What a chat completion says.

    Arguments that are no JSON object are the agent's mistake: they become None.

    Args:
      answer: The server's JSON.

    Raises:
      AnswerError: It is no chat completion.
    """
    match answer:
        case {"choices": [{"message": {**message}, **choice}, *_]}:
            text, calls = message.get("content"), message.get("tool_calls") or []
        case _:
            raise AnswerError("the answer has no choices with a message")
    match answer:
        case {"usage": {"prompt_tokens": int(read), "completion_tokens": int(written)}}:
            pass
        case _:
            read = written = 0
    said = text if isinstance(text, str) else ""
    finished = choice.get("finish_reason") != "length"
    return Reply(said, tuple(map(_call_of, calls)), read, written, finished)


def _call_of(call: Any) -> ToolCall:
    match call:
        case {"function": {"name": str(name), **function}}:
            return ToolCall(
                name, _object(function.get("arguments")), str(call.get("id") or "")
            )
    raise AnswerError("a tool call has no function with a name")


def _object(written: Any) -> dict[str, Any] | None:
    try:
        value = (
            json.loads(written or "{}") if not isinstance(written, dict) else written
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
