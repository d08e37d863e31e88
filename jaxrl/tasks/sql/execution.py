"""Whether a query answers as the expected one does."""

from collections import Counter
from pathlib import Path

from jaxrl.rollout.types import Failure
from jaxrl.sandbox.query import Rows
from jaxrl.sandbox.sql import SqlPool

CORRECT, RUNS, BROKEN = 1.0, 0.2, 0.0


def same_results(first: Rows, second: Rows) -> bool:
    """True if both have the same rows equally often, in any order; names don't count.

    >>> first = Rows(("a",), ((1,), (2,)), cut=False)
    >>> same_results(first, Rows(("b",), ((2,), (1.0,)), cut=False))
    True
    """
    return not (first.cut or second.cut) and Counter(first.rows) == Counter(second.rows)


async def execution_reward(
    pool: SqlPool, database: Path | str, sql: str | None, expected: str
) -> float | Failure:
    """1 for the expected result, 0.2 for another one, 0 for none.

    Args:
      pool: Runs both queries, the expected one once for all answers.
      database: Path of an SQLite file.
      sql: The answer, or None.
      expected: The query of the data set.

    Returns:
      The reward; a `Failure` if the expected query fails, or has more rows than are
      compared.

    Reference: TRUST-SQL, 2026, arXiv:2603.16448. Differs from the release: rows count
    as often as they occur, all of them and not the first 30; and queries may begin with
    WITH.
    """
    if sql is None:
        return BROKEN
    wanted = await pool.query_once(database, expected)
    if isinstance(wanted, Failure):
        return Failure(wanted.kind, f"the expected query: {wanted.message}")
    if wanted.cut:
        return Failure("error", "the expected query has more rows than are compared")
    found = await pool.query(database, sql)
    # A comment alone runs as well, but has no columns.
    if isinstance(found, Failure) or not found.columns:
        return BROKEN
    return CORRECT if same_results(found, wanted) else RUNS
