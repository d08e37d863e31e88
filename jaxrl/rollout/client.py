"""A teacher behind a server with an OpenAI-compatible API that scores given tokens."""

import dataclasses
import http.client
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from jaxrl.errors import UserError
from jaxrl.rollout.http_json import StatusError, exchange, persistently
from jaxrl.rollout.logprobs import AnswerError, Scoring, prompt_logprobs
from jaxrl.rollout.teacher import ScoredSequence, TeacherView
from jaxrl.rollout.types import Failure

UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
SHOWN = 300
"""Characters of an explanation that are passed on."""
TROUBLE = (
    OSError,
    http.client.HTTPException,
    StatusError,
    ValueError,
    RecursionError,
)
"""All that an exchange can raise; `AnswerError` and broken JSON are ValueErrors, and
deeply nested JSON is a RecursionError."""


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How the server's own tokenizer encodes a text.

    Attributes:
      ids: Token ids, or None if the server does not tell.
      count: Number of tokens.
    """

    ids: tuple[int, ...] | None
    count: int


@dataclasses.dataclass(frozen=True)
class ServedTeacher:
    """Scores sequences by requests to a server, several at once.

    Log-probabilities are those at temperature 1 over the whole vocabulary. Each
    sequence fails alone. The API key is read from the environment at every call, and
    appears in no message.

    Attributes:
      url: With the version, as in http://localhost:8000/v1.
      model: Name under which the server lists the model.
      api_key_env: Environment variable with the API key; None sends none.
      scoring: `logprobs.prompt_logprobs`, or `logprobs.echoed_logprobs`.
      concurrency: Requests at once.
      deadline: Seconds for one sequence, all attempts together.
      attempts: Requests for one sequence, at most.
      wait: Seconds before the second attempt; doubled before each further one.
    """

    url: str
    model: str
    api_key_env: str | None = None
    scoring: Scoring = prompt_logprobs
    concurrency: int = 16
    deadline: float = 120.0
    attempts: int = 4
    wait: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what can't work, without asking the server."""
        if not _is_address(self.url):
            # It may hold a password, so it is not repeated.
            raise UserError(
                "teacher_server.url is not of the form http://host:8000/v1, without "
                "user, password or query; a key belongs into teacher_server.api_key_env"
            )
        if self.concurrency < 1 or self.attempts < 1 or not self.deadline > 0:
            raise UserError(
                f"teacher_server.concurrency is {self.concurrency}, attempts "
                f"{self.attempts} and deadline {self.deadline}; give at least 1, 1 and "
                "some seconds"
            )

    def score(
        self, sequences: Sequence[ScoredSequence], *, top_k: int
    ) -> list[TeacherView | Failure]:
        """See `teacher.Teacher`.

        Kind "timeout" of a failure means the deadline, "error" all else.
        """
        headers = self._headers()
        with ThreadPoolExecutor(self.concurrency, "jaxrl-teacher") as threads:
            return list(
                threads.map(lambda one: self._score(one, top_k, headers), sequences)
            )

    def check(self, tokens: np.ndarray, *, top_k: int, longest: int) -> None:
        """Raise one error for whatever would make every request fail.

        Args:
          tokens: int32 [t]. Two or more, among them the student's largest id.
          top_k: Likeliest tokens to be asked for.
          longest: Tokens of the longest sequence to be scored.
        """
        limit = self._card().get("max_model_len")
        if isinstance(limit, int) and limit <= longest:
            raise UserError(
                f"teacher_server.model {self.model!r} is served with max_model_len "
                f"{limit}; sequences have up to {longest} tokens and the server needs "
                "one more"
            )
        mask = np.arange(len(tokens)) > 0
        probe = ScoredSequence(tokens, mask, 0, 0, 0, 0)
        view = self._score(probe, top_k, self._headers())
        if isinstance(view, Failure):
            raise UserError(
                f"teacher_server.url is {self.url}: it can't score {len(tokens)} "
                f"tokens with the {top_k} likeliest of each: {view.message}. vLLM's "
                "servers know logprobs.prompt_logprobs, for top_k up to their "
                "--max-logprobs; others may know logprobs.echoed_logprobs"
            )

    def encode(self, text: str) -> Encoding:
        """How the server's tokenizer encodes a text, without tokens of its own.

        Raises:
          UserError: If the server does not say even how many tokens there are.
        """
        answer = self._ask(
            "completions",
            {
                "model": self.model,
                "prompt": text,
                "max_tokens": 1,
                "add_special_tokens": False,
                "return_token_ids": True,
            },
        )
        match answer:
            case {"choices": [{"prompt_token_ids": [*ids]}, *_]}:
                return Encoding(tuple(ids), len(ids))
            case {"usage": {"prompt_tokens": int(count)}}:
                return Encoding(None, count)
        raise UserError(
            f"teacher_server.url is {self.url}: it does not say how many tokens a "
            "prompt has, so that tokenizers can't be compared"
        )

    def _card(self) -> dict[str, Any]:
        """What the server lists about the model; an error if it is not listed."""
        match self._ask("models"):
            case {"data": [*entries]}:
                cards = {e.get("id"): e for e in entries if isinstance(e, dict)}
            case _:
                raise UserError(f"teacher_server.url is {self.url}: it lists no models")
        if self.model not in cards:
            raise UserError(
                f"teacher_server.model is {self.model!r}; {self.url} serves "
                f"{sorted(map(str, cards))}"
            )
        return cards[self.model]

    def _score(
        self, sequence: ScoredSequence, top_k: int, headers: dict[str, str]
    ) -> TeacherView | Failure:
        expires = time.monotonic() + self.deadline

        def post(fields: Any) -> Any:
            body = {"model": self.model, **fields}
            return self._exchange("completions", body, headers, expires)

        try:
            return self.scoring(post, sequence, top_k)
        except TROUBLE as error:
            kind = "timeout" if isinstance(error, TimeoutError) else "error"
            return Failure(kind, self._explained(error, headers))

    def _ask(self, path: str, body: Any = None) -> Any:
        """An exchange on which all others depend: trouble is the user's to fix."""
        headers = self._headers()
        try:
            return self._exchange(path, body, headers, time.monotonic() + self.deadline)
        except TROUBLE as error:
            explained = self._explained(error, headers)
            raise UserError(
                f"teacher_server.url is {self.url}: {explained}; {self._remedy(error)}"
            ) from None

    def _exchange(
        self, path: str, body: Any, headers: dict[str, str], expires: float
    ) -> Any:
        url = f"{self.url.rstrip('/')}/{path}"
        once = partial(exchange, url, body=body, headers=headers, expires=expires)
        return persistently(
            once, attempts=self.attempts, wait=self.wait, expires=expires
        )

    def _remedy(self, error: Exception) -> str:
        match error:
            case StatusError(status=s) if s in (UNAUTHORIZED, FORBIDDEN):
                key = self.api_key_env or "a variable"
                return (
                    f"put a valid key into {key} and name it in "
                    "teacher_server.api_key_env"
                )
            case StatusError(status=s) if s == NOT_FOUND:
                return "the address should end where /models and /completions begin"
            case AnswerError() | ValueError():
                return "is it a server with an OpenAI-compatible API?"
        return "is the server running, and reachable from here?"

    def _headers(self) -> dict[str, str]:
        if self.api_key_env is None:
            return {}
        key = os.environ.get(self.api_key_env, "").strip()
        if not (key and key.isascii() and key.isprintable()):
            raise UserError(
                f"teacher_server.api_key_env is {self.api_key_env}, which holds no "
                "key; set the variable, or teacher_server.api_key_env to None"
            )
        return {"Authorization": f"Bearer {key}"}

    def _explained(self, error: Exception, headers: dict[str, str]) -> str:
        """The error in a line, without the key, which some servers repeat."""
        text = f"{error}" if isinstance(error, StatusError | AnswerError) else ""
        text = text or f"{type(error).__name__}: {error}"
        key = headers.get("Authorization", "").removeprefix("Bearer ")
        # Before it is cut: half of a key is too much.
        shown = text.replace(key, "***") if key else text
        return " ".join(shown.split())[:SHOWN]


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return known and plain and bool(parts.hostname) and url.isprintable()
