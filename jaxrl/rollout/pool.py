"""Rewards in worker processes, with a deadline that kills. Imports no JAX.

The workers are fresh Python processes, never forks of one that holds JAX's threads, and
they do not run the main script again. They stay warm, take rewards in chunks, and send
each result at once, so that a hung or crashed reward costs exactly its own item.
"""

import contextlib
import functools
import inspect
import pickle
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from jaxrl.errors import UserError
from jaxrl.rollout.process import LostError, WorkerProcess
from jaxrl.rollout.types import Failure, Problem, Reward
from jaxrl.rollout.worker import attempt, evaluate, import_declared, named

CHUNKS_PER_WORKER = 4
"""Chunks of one call for each worker: large enough to be cheap, enough to balance."""

Scores = tuple[float, ...] | Failure


class RewardPool:
    """Processes that compute rewards; use as a context manager, or `close` it.

    Safe to use from several threads at once, and off the main thread.
    """

    def __init__(self, *, workers: int, deadline: float):
        """Start the workers; they import in the background.

        Args:
          workers: Processes. With 0 everything runs in the calling thread, which is
            faster for tiny rewards, and where no deadline and no crash is handled.
          deadline: Seconds that one item may take, all its reward functions together.
        """
        if workers < 0 or not deadline > 0:
            raise UserError(
                f"reward_workers is {workers} and reward_deadline {deadline}; give at "
                "least 0 workers and a positive number of seconds"
            )
        self._deadline = deadline
        self._workers = [WorkerProcess() for _ in range(workers)]
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._preparing = threading.Lock()
        self._threads = ThreadPoolExecutor(max(1, workers), "jaxrl-rewards")

    def prepare(self, rewards: Sequence[Reward]) -> None:
        """Load reward functions in all workers; an error if that is impossible.

        Args:
          rewards: Functions that can be imported by name.
        """
        if not self._workers:
            import_declared(inspect.getmodule(reward) for reward in rewards)
            return
        call = _pickled_evaluation(rewards)
        with self._preparing:
            borrowed = [self._idle.get() for _ in self._workers]
            try:
                for worker in borrowed:
                    worker.ask(call, [])
                for worker in borrowed:
                    worker.confirm()
            finally:
                for worker in borrowed:
                    self._idle.put(worker)

    def score(
        self, rewards: Sequence[Reward], items: Sequence[tuple[Problem, str]]
    ) -> list[Scores]:
        """Apply all reward functions to all items.

        Args:
          rewards: One function for each reward channel.
          items: Problems and the responses' texts.

        Returns:
          For each item, in order, one number per function, or the `Failure`: kind
          "timeout" at the deadline, "crash" if the process ended, "error" if a function
          raised or returned something that is not a finite number.
        """
        if not self._workers:
            return [evaluate(rewards, problem, text) for problem, text in items]
        return self._map(_pickled_evaluation(rewards), items)

    def map(self, call: Callable[..., Any], items: Sequence[Sequence[Any]]) -> list:
        """Apply any importable function, a tool for instance, to arguments.

        Args:
          call: Can be imported by name.
          items: Positional arguments of each call.

        Returns:
          For each item, in order, what the function returned, or a `Failure`.
        """
        if not self._workers:
            return [attempt(call, arguments) for arguments in items]
        return self._map(_pickled(call), items)

    def close(self) -> None:
        """End the workers, also those inside of a reward."""
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "RewardPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _map(self, call: bytes, items: Sequence[Sequence[Any]]) -> list:
        size = -(-len(items) // (CHUNKS_PER_WORKER * len(self._workers))) or 1
        chunks = [items[i : i + size] for i in range(0, len(items), size)]
        results = self._threads.map(lambda chunk: self._run(call, chunk), chunks)
        return [result for chunk in results for result in chunk]

    def _run(self, call: bytes, items: Sequence[Sequence[Any]]) -> list:
        """Results of one chunk; after a lost worker the rest goes to its successor."""
        results: list[Any] = []
        with self._borrowed() as worker:
            while len(results) < len(items):
                try:
                    worker.request(call, items[len(results) :])
                    while len(results) < len(items):
                        results.append(worker.receive(self._deadline))
                except LostError as lost:
                    results.append(lost.failure)
                    worker.restart()
        return results

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator["WorkerProcess"]:
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)


def score_on(
    executor: Executor,
    rewards: Sequence[Reward],
    items: Sequence[tuple[Problem, str]],
) -> list[Scores]:
    """Apply reward functions on any executor, one of another engine for instance.

    The executor decides about deadlines; one that cannot run an item gives a `Failure`
    of kind "crash".

    Args:
      executor: Anything with `concurrent.futures.Executor.submit`.
      rewards: One function for each reward channel.
      items: Problems and the responses' texts.

    Returns:
      As `RewardPool.score`.
    """
    futures = [executor.submit(evaluate, rewards, *item) for item in items]
    return [_settled(future) for future in futures]


def _settled(future: "Future[Scores]") -> Scores:
    try:
        return future.result()
    except Exception as error:
        return Failure("crash", f"{type(error).__name__}: {error}"[:500])


def _pickled_evaluation(rewards: Sequence[Reward]) -> bytes:
    for reward in rewards:
        _pickled(reward)
    return _pickled(functools.partial(evaluate, tuple(rewards)))


def _pickled(call: Callable[..., Any]) -> bytes:
    """The call by reference; an error if another process could not import it."""
    remedy = (
        "worker processes import functions by name: define it with def at the top "
        "level of a module that can be imported, or set reward_workers to 0"
    )
    try:
        pickled = pickle.dumps(call)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(f"reward {named(call)}: {error}; {remedy}") from None
    if b"__main__" in pickled:
        raise UserError(f"reward {named(call)} is defined in the main script; {remedy}")
    return pickled
