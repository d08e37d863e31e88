"""The thread in which episodes and their tools live, apart from the device's."""

import asyncio
import contextlib
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

END = 2.0
"""Seconds for the thread to end."""

T = TypeVar("T")


class Stage:
    """A thread with an event loop; one that is blocked is left and replaced."""

    def __init__(self):
        """Start the thread."""
        self._start()

    def _start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=_run, args=(self.loop,), name="jaxrl-episodes", daemon=True
        )
        self._thread.start()

    def replace(self) -> str:
        """Leave a thread that doesn't react, and say where it is."""
        frames = sys._current_frames()
        stack = traceback.extract_stack(frames.get(self._thread.ident or 0))
        self._start()
        return ", in ".join(f"{f.filename}:{f.lineno}" for f in reversed(stack[-3:]))

    def close(self) -> None:
        """Cancel what still runs, and end the thread if it reacts."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(END)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        # What ends a program ends only the task that raises it, and the loop goes on.
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()
            break
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_until_complete(asyncio.wait(left, timeout=END / 2))
    loop.close()


async def in_thread(call: Callable[..., T], *arguments: object) -> T:
    """Run a function in a thread of its own, which may never return.

    Unlike a pool's, it keeps nobody from ending or from starting another.

    Args:
      call: The function.
      *arguments: Of the call.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[..., None], value: object) -> None:
        if not future.done():
            set_it(value)

    def run() -> None:
        try:
            settled = future.set_result, call(*arguments)
        except Exception as error:
            settled = future.set_exception, error
        except BaseException as error:  # What ends a program ends no run.
            wrong = RuntimeError(f"{type(error).__name__}: {error}")
            settled = future.set_exception, wrong
        with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(settle, *settled)

    threading.Thread(target=run, name="jaxrl-call", daemon=True).start()
    return await future


async def judged(
    rewards: Sequence[Callable[..., float]], *arguments: object, deadline: float
) -> tuple[float, ...]:
    """Rewards of an episode, which keep no other episode waiting.

    Args:
      rewards: One function per reward channel.
      *arguments: Of each of them.
      deadline: Seconds for all together.

    Raises:
      TimeoutError: They took longer; their thread is left.
    """

    def all_of_them() -> tuple[float, ...]:
        return tuple(float(reward(*arguments)) for reward in rewards)

    return await asyncio.wait_for(in_thread(all_of_them), deadline)
