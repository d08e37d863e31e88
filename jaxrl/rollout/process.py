"""One worker process, seen from its parent: start, ask, receive, kill. No JAX."""

import contextlib
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from jaxrl.errors import UserError
from jaxrl.rollout.types import Failure

START_LIMIT = 120.0
"""Seconds for a worker to start and to import the reward functions' modules."""

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from jaxrl.rollout.worker import main; main(int(sys.argv[2]))"
)


class LostError(Exception):
    """The worker is gone or has to be killed."""

    def __init__(self, failure: Failure):
        super().__init__(failure.message)
        self.failure = failure


class WorkerProcess:
    """One process and the pipe to it; used by one thread at a time, but for `stop`."""

    def __init__(self):
        self._lock = threading.Lock()
        self._stopped = False
        self._start()

    def request(self, call: bytes, items: Sequence[Sequence[Any]]) -> None:
        """Send work to a worker that may have died while it was idle."""
        try:
            self.ask(call, items)
            self.confirm()
        except (LostError, OSError):
            self.restart()
            self.ask(call, items)
            self.confirm()

    def ask(self, call: bytes, items: Sequence[Sequence[Any]]) -> None:
        """Send work."""
        self._pipe.send((call, list(items)))

    def confirm(self) -> None:
        """Wait until the call is loaded; an error if it cannot be."""
        problem = self.receive(START_LIMIT)
        if problem is not None:
            raise UserError(
                f"a reward worker cannot load the reward functions: {problem}. Their "
                "module must be importable by its name; or set reward_workers to 0"
            )

    def receive(self, seconds: float) -> Any:
        """The next message; `LostError` at the deadline or when the process ended."""
        try:
            if self._poller.poll(seconds * 1000):
                return self._pipe.recv()
        except (EOFError, OSError):
            message = f"the worker process ended with exit status {self._status()}"
            raise LostError(Failure("crash", message)) from None
        raise LostError(Failure("timeout", f"no result after {seconds:g} s"))

    def restart(self) -> None:
        """Kill the process, whatever it does, and start another."""
        with self._lock:
            self._kill()
            self._pipe.close()
            if self._stopped:
                raise RuntimeError("the reward pool was closed")
            self._start()

    def stop(self) -> None:
        """Kill the process for good; a thread that waits for it gets an error."""
        with self._lock:
            self._stopped = True
            self._kill()

    def _start(self) -> None:
        paths = json.dumps([path or os.getcwd() for path in sys.path])
        self._pipe, theirs = multiprocessing.Pipe()
        # `Connection.poll` builds a selector on every call, ten times as slow.
        self._poller = select.poll()
        self._poller.register(self._pipe, select.POLLIN)
        with theirs:
            descriptor = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, paths, str(descriptor)],
                stdin=subprocess.DEVNULL,
                pass_fds=(descriptor,),
                # A reward that imports JAX must not take the accelerator.
                env={**os.environ, "JAX_PLATFORMS": "cpu"},
                # A group of its own, to be killed with all processes it started.
                start_new_session=True,
            )

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _status(self) -> int | None:
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return None
