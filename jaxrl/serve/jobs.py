"""Between HTTP, which lives in a thread, and the device, on the main thread."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

import numpy as np

from jaxrl.rollout.session import NO_STOPS, Stops
from jaxrl.serve.errors import RequestError
from jaxrl.truncation import Distribution

IDLE = 0.05
"""Seconds between two looks of an idle device at whether to end."""


class Progress(NamedTuple):
    """What one answer has got since the last time.

    Attributes:
      place: Of the answer, among those of its job.
      tokens: New ones.
      logp: Their log-probabilities.
      done: Whether that was all.
      finished: Whether a stop ended it, rather than its limit.
      version: Updates of the policy that draws it.
    """

    place: int
    tokens: list[int]
    logp: list[float]
    done: bool
    finished: bool
    version: int


class Call(NamedTuple):
    """What the device's thread is to do between two blocks.

    Attributes:
      run: Does it, and tells the result to who waits.
      fail: Tells that it is not done.
    """

    run: Callable[[], None]
    fail: Callable[[RequestError], None]


@dataclasses.dataclass(eq=False)
class Job:
    """Answers to one prompt that the device is to draw.

    Attributes:
      prompt: int32 [t].
      names: Of the noise of each answer.
      limit: Longest answer, tokens.
      drawn_from: Temperature, top-k and top-p.
      stops: What ends an answer, beside the checkpoint's stop tokens.
      cancelled: Set where nobody waits any more.
    """

    prompt: np.ndarray
    names: Sequence[int]
    limit: int
    drawn_from: Distribution
    stops: Stops = NO_STOPS
    cancelled: bool = False

    def __post_init__(self) -> None:
        """Begin to listen, in the event loop that made it."""
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[Progress | RequestError] = asyncio.Queue()

    def tell(self, news: Progress | RequestError) -> None:
        """Hand news over, from the device's thread."""
        with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
            self._loop.call_soon_threadsafe(self._news.put_nowait, news)

    async def progress(self) -> AsyncIterator[Progress]:
        """News until all answers are done."""
        open_answers = len(self.names)
        while open_answers:
            news = await self._news.get()
            if isinstance(news, RequestError):
                raise news
            open_answers -= news.done
            yield news


class Jobs:
    """A queue with a bound, into the device's thread."""

    def __init__(self, room: int):
        """Begin empty.

        Args:
          room: Answers that may be waited for at once, live ones included. Calls need
            none: those for a prompt come from requests whose answers have theirs.
        """
        self.room, self._answers = room, 0
        self._refusal: RequestError | None = None
        self._paused, self._called = False, 0
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._calls: list[Call] = []

    @property
    def held(self) -> int:
        """Answers and calls that are waited for."""
        return self._answers + self._called

    @property
    def refusing(self) -> bool:
        """Whether nothing new is taken."""
        return self._refusal is not None or self._paused

    def put(self, job: Job) -> None:
        """Queue a job; a `RequestError` if there is no room, or no device any more."""
        count = len(job.names)
        with self._changed:
            if self._paused:
                raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "paused; try later")
            self._check_open()
            if self._answers + count > self.room:
                raise RequestError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"{self._answers} answers of {self.room} are being waited for; "
                    "try later",
                    code="queue_full",
                )
            self._answers += count
            self._waiting.append(job)
            self._changed.notify()

    async def run(self, call: Callable[[], Any]) -> Any:
        """Have the device's thread call a function between two blocks."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(set_it: Callable[[Any], None], value: Any) -> None:
            if not future.done():
                set_it(value)

        def tell(set_it: Callable[[Any], None], value: Any) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, set_it, value)

        def work() -> None:
            try:
                settled: tuple[Any, Any] = future.set_result, call()
            except Exception as error:
                settled = future.set_exception, error
            with self._changed:
                self._called -= 1
            tell(*settled)

        with self._changed:
            self._check_open()
            self._called += 1
            self._calls.append(Call(work, partial(tell, future.set_exception)))
            self._changed.notify()
        return await future

    def take(self, busy: bool) -> tuple[list[Job], list[Call]]:
        """New jobs and calls; waits a little for some unless the device is busy."""
        with self._changed:
            if not (busy or self._waiting or self._calls):
                self._changed.wait(IDLE)
            jobs, self._waiting = self._waiting, []
            calls, self._calls = self._calls, []
            return jobs, calls

    def release(self, count: int) -> None:
        """Make room for answers again."""
        with self._changed:
            self._answers -= count

    def pause(self) -> None:
        """Refuse jobs until `resume`; those that are there go on, and so do calls."""
        self._paused = True

    def resume(self) -> None:
        """Take jobs again."""
        self._paused = False

    def close(self, message: str) -> None:
        """Take nothing new from now on."""
        refusal = RequestError(HTTPStatus.SERVICE_UNAVAILABLE, message)
        with self._changed:
            self._refusal = refusal

    def _check_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal
