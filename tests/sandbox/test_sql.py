"""A model's SQL attacks; the database stays as it is, and the next query runs."""

import asyncio
import hashlib
import re
import shutil
import sqlite3
import time

import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.types import Failure
from jaxrl.sandbox import sql
from jaxrl.sandbox.query import QueryLimits, Rows
from jaxrl.sandbox.sql import SqlPool

LIMITS = QueryLimits(seconds=0.4, rows=50, size=10_000)
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("a name?&") / "shop #1.sqlite"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, name, price REAL)"
        )
        connection.executemany(
            "INSERT INTO item VALUES (?, ?, ?)",
            [(i, f"item {i}", i / 2) for i in range(100)],
        )
        connection.execute("CREATE INDEX by_name ON item (name)")
        connection.execute("INSERT INTO item VALUES (100, CAST(x'ff' AS TEXT), NULL)")
    connection.close()
    return path


@pytest.fixture(scope="module")
def pool():
    with SqlPool(workers=1, limits=LIMITS) as pool:
        yield pool


@pytest.fixture
def ask(pool, database):
    return lambda sql: asyncio.run(pool.query(database, sql))


@pytest.fixture(autouse=True)
def untouched(database):
    before = fingerprint(database)
    yield
    assert fingerprint(database) == before


def fingerprint(database):
    content = hashlib.sha256(database.read_bytes()).digest()
    return content, sorted(database.parent.iterdir()), database.stat().st_mtime_ns


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) AS n FROM item", Rows(("n",), ((101,),), cut=False)),
        ("SELECT NULL, 1, 2.5, 'é', x'00'", ((None, 1, 2.5, "é", b"\0"),)),
        ("SELECT name FROM item WHERE id = 100", (("\ufffd",),)),
        (f"{ENDLESS} SELECT x FROM c LIMIT 2", ((1,), (2,))),
        ("SELECT type FROM sqlite_master WHERE name = 'by_name'", (("index",),)),
        ("SELECT name FROM pragma_table_info('item') LIMIT 1", (("id",),)),
        ("SELECT value FROM json_each('[7]')", ((7,),)),
        ("PRAGMA foreign_key_list(item)", ()),
        ("-- nothing", ()),
    ],
)
def test_reading_works(ask, sql, expected):
    found = ask(sql)
    assert found == expected or found.rows == expected
    assert ask("PRAGMA table_info(item)").rows[1][:3] == (1, "name", "")
    assert ask("EXPLAIN QUERY PLAN SELECT * FROM item").columns


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO item VALUES (999, 'x', 1)",
        "UPDATE item SET price = 0",
        "DELETE FROM item",
        "REPLACE INTO item VALUES (1, 'x', 1)",
        "DROP TABLE item",
        "ALTER TABLE item RENAME TO other",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x (a)",
        "CREATE VIEW x AS SELECT 1",
        "CREATE VIRTUAL TABLE x USING fts5(a)",
        "CREATE TRIGGER x AFTER INSERT ON item BEGIN SELECT 1; END",
        "ATTACH 'other.db' AS other",
        "ATTACH ':memory:' AS other",
        "EXPLAIN ATTACH 'other.db' AS other",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO 'copy.db'",
        "REINDEX",
        "ANALYZE",
        "BEGIN IMMEDIATE",
        "SAVEPOINT x",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "PRAGMA journal_mode = WAL",
        "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA database_list",
        "PRAGMA hard_heap_limit = 1",
        "SELECT * FROM pragma_database_list",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT fts3_tokenizer('simple')",
        "SELECT writefile('x', 'y')",
    ],
)
def test_all_but_reading_is_refused(ask, sql):
    found = ask(sql)
    assert isinstance(found, Failure)
    assert found.kind == "error"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM missing", "no such table: missing"),
        ("SELECT", "incomplete input"),
        ("SELECT 1; DROP TABLE item", "one statement"),
        ("DROP TABLE item", "only reading is allowed"),
        ("SELECT zeroblob(1000000000)", "too big"),
        ("SELECT replace(hex(zeroblob(9000)), '0', hex(zeroblob(9000)))", "too big"),
        ("SELECT '\0'", "null character"),
        ("SELECT '\ud800'", "surrogates"),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "(parser|too large|depth)"),
        ("SELECT '" + "x" * 200_000 + "'", "too large"),
    ],
)
def test_errors_are_explained(ask, sql, message):
    found = ask(sql)
    assert isinstance(found, Failure)
    assert found.kind == "error"
    assert re.search(message, found.message)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (f"{ENDLESS} SELECT x FROM c", 50),
        ("SELECT id FROM item", 50),
        ("SELECT hex(zeroblob(1500)) FROM item", 3),
    ],
)
def test_results_are_cut(ask, sql, rows):
    found = ask(sql)
    assert (len(found.rows), found.cut) == (rows, True)


@pytest.mark.parametrize(
    "sql",
    [
        f"{ENDLESS} SELECT count(*) FROM c",
        "SELECT count(*) FROM item a, item b, item c, item d, item e",
        "SELECT * FROM item a, item b, item c, item d ORDER BY random()",
    ],
)
def test_a_long_query_is_interrupted(ask, sql):
    start = time.monotonic()
    found = ask(sql)
    assert (found.kind, found.message) == ("timeout", "interrupted after 0.4 s")
    assert time.monotonic() - start < 5
    assert ask("SELECT 1").rows == ((1,),)


def test_a_query_that_cannot_be_interrupted_is_killed(database):
    # One instruction of SQLite, that compares long texts a million times.
    zeros = "hex(zeroblob(1000000))"
    limits = QueryLimits(seconds=0.1, size=2**23)
    with SqlPool(workers=1, limits=limits) as pool:
        query = f"SELECT instr({zeros} || {zeros}, {zeros} || '1')"
        found = asyncio.run(pool.query(database, query))
        assert found == Failure("timeout", "no result after 1.1 s")
        assert asyncio.run(pool.query(database, "SELECT 1")) == Rows(
            ("1",), ((1,),), False
        )


@pytest.mark.slow
def test_memory_is_limited(database):
    limits = QueryLimits(seconds=20.0, size=2**29, memory=2**29)
    with SqlPool(workers=1, limits=limits) as pool:
        query = "SELECT hex(zeroblob(200000000)) || hex(zeroblob(200000000))"
        found = asyncio.run(pool.query(database, query))
    assert isinstance(found, Failure)
    assert found.message in ("out of memory", "string or blob too big")


def test_rows_are_kept_for_all_who_ask_once(pool, database):
    async def asked():
        waiting = [
            asyncio.create_task(pool.query_once(database, "SELECT random()"))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        waiting[0].cancel()
        together = await asyncio.gather(*waiting[1:])
        return {*together, await pool.query_once(database, "SELECT random()")}

    first, again = asyncio.run(asked()), asyncio.run(asked())
    assert len(first) == len(again) == 1
    # Another event loop can't wait for what the first one began.
    assert first != again


def test_only_the_latest_results_are_kept(pool, database, monkeypatch):
    monkeypatch.setattr(sql, "KEPT", 2)

    async def asked(*names):
        queries = [f"SELECT random() AS {name}" for name in names]
        return [(await pool.query_once(database, query)).rows for query in queries]

    a, b, a_again, _, a_used, b_lost = asyncio.run(asked(*"abacab"))
    assert a == a_again == a_used
    assert b != b_lost


def test_failures_are_not_kept(pool, database, tmp_path):
    path = tmp_path / "late.sqlite"

    async def asked():
        lost = await pool.query_once(path, "SELECT count(*) FROM item")
        shutil.copy(database, path)
        return lost, await pool.query_once(path, "SELECT count(*) FROM item")

    lost, found = asyncio.run(asked())
    assert isinstance(lost, Failure)
    assert found.rows == ((101,),)


def test_a_file_that_is_no_database_is_an_error(pool, tmp_path):
    (tmp_path / "text").write_text("no database" * 1000)
    for name in ("missing.sqlite", "text"):
        found = asyncio.run(pool.query(tmp_path / name, "SELECT * FROM x"))
        assert isinstance(found, Failure)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: SqlPool(workers=0), "workers is 0"),
        (lambda: QueryLimits(seconds=0), "QueryLimits.seconds is 0"),
    ],
)
def test_mistakes_are_named(make, named):
    with pytest.raises(UserError, match=named):
        make()
