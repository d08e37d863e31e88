"""A model's SQL in warm processes; one whose query doesn't stop is replaced."""

import asyncio
from collections import OrderedDict
from pathlib import Path

from jaxrl.errors import UserError
from jaxrl.rollout.pool import RewardPool
from jaxrl.rollout.stage import in_thread
from jaxrl.rollout.types import Failure
from jaxrl.sandbox.query import QueryLimits, Rows, run_query

PATIENCE = 1.0
"""Seconds that a query may go on after it was interrupted, before it is killed."""
KEPT = 128
"""Results of `SqlPool.query_once` that are kept."""

Found = Rows | Failure


class SqlPool:
    """Processes that run queries; use as a context manager, or `close` it."""

    def __init__(self, *, workers: int = 2, limits: QueryLimits | None = None):
        """Start the processes.

        Args:
          workers: Queries at once; others wait.
          limits: Of every query; None takes the defaults.
        """
        if workers < 1:
            raise UserError(
                f"workers is {workers}; give at least 1, for a model's SQL runs in "
                "processes of its own"
            )
        self.limits = limits or QueryLimits()
        deadline = self.limits.seconds + PATIENCE
        self._pool = RewardPool(workers=workers, deadline=deadline)
        self._kept: OrderedDict[tuple[object, ...], asyncio.Task[Found]] = OrderedDict()

    async def query(self, database: Path | str, sql: str) -> Found:
        """Run one statement that can only read.

        Args:
          database: An SQLite file that nobody writes to meanwhile.
          sql: One statement.

        Returns:
          The rows, or a `Failure`: "error" with SQLite's message, "timeout", or "crash"
          if its process ended.
        """
        items = [(str(database), sql, self.limits)]
        [found] = await in_thread(self._pool.map, run_query, items)
        return found

    async def query_once(self, database: Path | str, sql: str) -> Found:
        """As `query`, but rows are kept for whoever asks the same again.

        Args:
          database: As of `query`; it doesn't change.
          sql: One statement.
        """
        # An event loop that blocked was left, with all that waits in it.
        key = (asyncio.get_running_loop(), str(database), sql)
        if key not in self._kept:
            asked = asyncio.create_task(self.query(database, sql))
            asked.add_done_callback(lambda task: _holds(task) or self._kept.pop(key, 0))
            self._kept[key] = asked
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        # Whoever gives up doesn't take it from the others.
        return await asyncio.shield(self._kept[key])

    def close(self) -> None:
        """End the processes, also those inside of a query."""
        self._pool.close()

    def __enter__(self) -> "SqlPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _holds(task: asyncio.Task[Found]) -> bool:
    """Whether a query ended with rows."""
    ended = not task.cancelled() and task.exception() is None
    return ended and isinstance(task.result(), Rows)
