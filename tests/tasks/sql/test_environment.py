"""Scripted agents, perfect and faulty, prove phases, tools, rewards and failures."""

import asyncio
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jaxrl.rollout.chat import Reply, ToolCall
from jaxrl.rollout.types import Problem
from jaxrl.sandbox.query import MIB, QueryLimits, Rows
from jaxrl.sandbox.sql import SqlPool
from jaxrl.tasks.sql import protocol, schema
from jaxrl.tasks.sql.agents import ScriptedAgent, expert_turns
from jaxrl.tasks.sql.environment import SqlEnvironment
from jaxrl.tasks.sql.execution import execution_reward, same_results
from jaxrl.tasks.sql.generate import write_databases
from jaxrl.tasks.sql.loader import read_spider

ROOT = Path(__file__).parents[3]
LIMITS = QueryLimits(seconds=0.3, rows=150, size=MIB)


@pytest.fixture(scope="module")
def environment():
    with SqlPool(workers=1, limits=LIMITS) as pool:
        yield SqlEnvironment(pool)


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    path = tmp_path_factory.mktemp("generated") / "x"
    write_databases(path, seed=0, databases=6)
    return read_spider(path, files=("train_spider.json", "dev.json"))


@pytest.fixture(scope="module")
def problem(problems):
    return next(p for p in problems if p.extra["difficulty"] == "moderate")


def play(environment, problem, texts):
    return asyncio.run(environment.play(problem, ScriptedAgent(texts)))


def query(problem, sql, action=protocol.GENERATE):
    return protocol.turn(action, "I look.", protocol.call(problem.extra["db_id"], sql))


def answer(sql):
    return protocol.turn(protocol.CONFIRM, "Done.", f"```sql\n{sql}\n```")


def propose(text):
    return protocol.turn(protocol.PROPOSE, "This.", text)


def test_the_expert_is_paid_in_full_on_every_kind_of_question(environment, problems):
    for problem in problems[::7]:
        texts = expert_turns(problem)
        episode = play(environment, problem, texts)
        assert episode.rewards == (1.1, 1.0)
        assert (episode.ended, episode.failure) == ("answer", None)
        assert len(episode.turns) == len(texts)
        assert episode.schema_turns == len(texts) - 2
        assert [t.action for t in episode.turns][-3:] == list(protocol.PHASES[1:])
        assert not any("Error" in turn.feedback for turn in episode.turns)


def changed(change):
    return lambda problem: change(problem, expert_turns(problem))


PLAN = {
    "guesses at once": (lambda p: [answer(p.answer)], (1.0, 0.0), 0, "answer"),
    "guesses without a fence": (
        lambda p: [protocol.turn(protocol.CONFIRM, ".", p.answer)],
        (1.0, 0.0),
        0,
        "answer",
    ),
    "answers something else": (
        changed(lambda p, t: [*t[:-1], answer("SELECT 1")]),
        (0.2 + 0.1, 0.0),
        -1,
        "answer",
    ),
    "answers with what does not run": (
        changed(lambda p, t: [*t[:-1], answer("SELECT x FROM y")]),
        (0.1, 0.0),
        -1,
        "answer",
    ),
    "answers with a comment": (
        changed(lambda p, t: [*t[:-1], answer("-- SELECT 1")]),
        (0.1, 0.0),
        -1,
        "answer",
    ),
    "answers with a write": (
        changed(lambda p, t: [*t[:-1], answer("DELETE FROM sqlite_master")]),
        (0.1, 0.0),
        -1,
        "answer",
    ),
    "answers with what never ends": (
        changed(
            lambda p, t: [
                *t[:-1],
                answer(
                    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) "
                    "SELECT COUNT(*) FROM c"
                ),
            ]
        ),
        (0.1, 0.0),
        -1,
        "answer",
    ),
    "proposes too much": (
        changed(
            lambda p, t: [
                *t[:-3],
                propose('{"tables": ["x"], "columns": {"x": ["y"]}}'),
                *t[-2:],
            ]
        ),
        (1.1, 0.0),
        -1,
        "answer",
    ),
    "proposes no JSON": (
        changed(lambda p, t: [*t[:-3], propose("{"), *t[-2:]]),
        (1.1, 0.0),
        -1,
        "answer",
    ),
    "corrects its proposal": (
        changed(lambda p, t: [*t[:-3], propose("{}"), *t[-3:]]),
        (1.1, 1.0),
        -1,
        "answer",
    ),
    "spoils its proposal": (
        changed(lambda p, t: [*t[:-2], propose("{}"), *t[-2:]]),
        (1.1, 0.0),
        -1,
        "answer",
    ),
    "never proposes": (
        changed(lambda p, t: [*t[:-3], *t[-2:]]),
        (1.0, 0.0),
        -1,
        "answer",
    ),
    "never tries its query": (
        changed(lambda p, t: [*t[:-2], t[-1]]),
        (1.0, 1.0),
        None,
        "answer",
    ),
    "speaks out of turn": (
        changed(lambda p, t: ["Hello!", *t]),
        (1.0, 1.0),
        -1,
        "answer",
    ),
    "forgets to think": (
        changed(lambda p, t: [t[0].replace("think>", "thought>"), *t[1:]]),
        (1.0, 1.0),
        -1,
        "answer",
    ),
    "makes a syntax error": (
        changed(lambda p, t: [query(p, "SELEC 1"), *t]),
        (1.0, 1.0),
        -1,
        "answer",
    ),
    "names a missing column": (
        changed(lambda p, t: [query(p, "SELECT x FROM sqlite_master"), *t]),
        (1.1, 1.0),
        -1,
        "answer",
    ),
    "never answers": (
        changed(lambda p, t: t[:1]),
        (0.0, 0.0),
        None,
        "turns",
    ),
}


@pytest.mark.parametrize("plan", PLAN)
def test_each_fault_costs_its_reward(environment, problem, plan):
    texts, rewards, schema_turns, ended = PLAN[plan]
    played = texts(problem)
    episode = play(environment, problem, played)
    assert episode.rewards == pytest.approx(rewards)
    assert (episode.ended, episode.failure) == (ended, None)
    if schema_turns is not None:
        # The generated query and the answer come after the schema's track.
        after = 2 if schema_turns == -1 else len(played)
        assert episode.schema_turns == len(played) - after


def test_the_schema_is_paid_only_for_a_right_answer(environment, problem):
    texts = [*expert_turns(problem)[:-1], answer("SELECT 1")]
    episode = play(environment, problem, texts)
    assert episode.proposed == schema.used_schema(
        problem.extra["database"], problem.answer
    )
    assert episode.schema == 0.0


def test_partial_scores_pay_for_parts_of_the_schema(environment, problem):
    expected = schema.used_schema(problem.extra["database"], problem.answer)
    more = schema.Schema(expected.tables, expected.columns | {"x.y"})
    texts = expert_turns(problem)
    texts[-3] = propose(
        json.dumps(
            {
                **schema.schema_json(more),
                "columns": {**schema.schema_json(expected)["columns"], "x": ["y"]},
            }
        )
    )
    graded = dataclasses.replace(environment, score=schema.recall_then_precision)
    assert 0.6 < play(graded, problem, texts).schema < 1.0
    assert play(environment, problem, texts).schema == 0.0


def test_exploring_alone_credits_up_to_the_last_exploration(environment, problem):
    texts = expert_turns(problem)
    episode = play(
        environment, problem, [*texts[:2], query(problem, "SELECT 1"), texts[-1]]
    )
    assert (episode.schema_turns, episode.proposed) == (2, None)


def test_turns_and_context_are_limited(environment, problem):
    look = query(problem, "SELECT 1", protocol.EXPLORE)
    assert len(play(environment, problem, [look]).turns) == 10

    @dataclasses.dataclass(frozen=True)
    class Counting:
        async def reply(self, messages, tools):
            return Reply(look, prompt_tokens=400 * len(messages), completion_tokens=9)

    short = dataclasses.replace(environment, max_context=2000)
    episode = asyncio.run(short.play(problem, Counting()))
    assert (episode.ended, len(episode.turns)) == ("context", 3)


@dataclasses.dataclass(frozen=True)
class CutAt:
    """Follows a script, but a limit cuts one turn, if only behind its last tag."""

    script: ScriptedAgent
    turn: int

    async def reply(self, messages, tools):
        said = await self.script.reply(messages, tools)
        number = sum(message["role"] == "assistant" for message in messages)
        return dataclasses.replace(said, finished=number != self.turn)


@pytest.mark.parametrize("turn", [-1, -3, 0])
def test_a_turn_that_a_limit_cut_is_not_carried_out(environment, problem, turn):
    texts = expert_turns(problem)
    number = range(len(texts))[turn]
    agent = CutAt(ScriptedAgent(texts), number)
    episode = asyncio.run(environment.play(problem, agent))
    assert (episode.ended, len(episode.turns)) == ("length", number + 1)
    last = episode.turns[-1]
    assert (last.payload, last.action, last.feedback) == (None, None, "")
    assert (episode.answer, episode.rewards) == (None, (0.0, 0.0))
    assert episode.schema_turns == min(number, len(texts) - 2)
    assert (episode.proposed is not None) is (number > len(texts) - 3)


@pytest.mark.parametrize(
    ("sql", "feedback"),
    [
        ("SELECT 1 AS a, NULL AS b, 'x' AS c", "a\tb\tc\n1\tNULL\tx"),
        ("SELECT 1 WHERE 0", "The query ran and returned no rows."),
        ("SELECT x FROM y", "Error: no such table: y"),
        (" ", "Error: the SQL is empty"),
        ("CREATE TABLE x (a)", "Error: .*only reading is allowed, not .*"),
        ("ATTACH 'x' AS y", "Error: .*only reading is allowed, not .*"),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 103) "
            "SELECT x FROM c",
            r"x\n1\n(.|\n)*\n100\n... \(3 rows not shown\)",
        ),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
            "SELECT x FROM c",
            r"x\n1\n(.|\n)*\n100\n... \(50 or more rows not shown\)",
        ),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
            "SELECT COUNT(*) FROM c",
            "Error: interrupted after 0.3 s",
        ),
        ("SELECT hex(zeroblob(9000))", r"hex(.|\n)*0\n\.\.\. \(cut\)"),
    ],
)
def test_what_the_tool_tells(environment, problem, sql, feedback):
    episode = play(environment, problem, [query(problem, sql), answer("SELECT 1")])
    told = episode.turns[0].feedback
    assert len(told) < 5000
    assert re.fullmatch(feedback, told)


@pytest.mark.parametrize(
    ("text", "feedback"),
    [
        ("no tags", "Invalid format"),
        ("<tool_call>{</tool_call>", "Invalid format"),
        ("<tool_call>" + "[" * 99999 + "</tool_call>", "Invalid format"),
        ('<tool_call>{"name": "rm", "arguments": {"sql": "x"}}</tool_call>', "Invalid"),
        (
            f"<tool_call>{protocol.call('../other', 'SELECT 1')}</tool_call>",
            "no database",
        ),
        (f"<tool_call>{protocol.call('', 'SELECT 7')}</tool_call>", "7"),
        ("<schema>{</schema>", "it is no JSON"),
        ('<schema>{"tables": []}</schema>', "no list of tables, or no columns"),
        ('<schema>{"tables": ["A"], "columns": {"A": ["b", "c"]}}</schema>', "1 .*2 "),
    ],
)
def test_every_payload_is_answered(environment, problem, text, feedback):
    episode = play(environment, problem, [text, answer("SELECT 1")])
    assert re.search(feedback, episode.turns[0].feedback)


def test_a_turn_cannot_be_written_that_takes_long_to_read():
    program = """
        from jaxrl.rollout.chat import Reply
        from jaxrl.tasks.sql.protocol import action_of, payload_of
        endless = "<answer>```" + chr(10) * 20_000 + "</answer>"
        print(payload_of(Reply(endless)).sql)
        print(payload_of(Reply("<answer>" * 100_000)))
        print(action_of("<action>" * 100_000))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    out = subprocess.check_output(command, cwd=ROOT, text=True, timeout=60)
    assert out == "```\nNone\nNone\n"


def test_calls_that_a_server_parsed_work_like_those_in_the_text(environment, problem):
    @dataclasses.dataclass
    class Parsing:
        seen: list

        async def reply(self, messages, tools):
            self.seen[:] = messages
            if len(messages) > 2:
                return Reply(answer("SELECT 1"))
            text = "<think>.</think><action>explore_schema</action>"
            call = ToolCall(tools[0]["function"]["name"], {"sql": "SELECT 8"}, "first")
            return Reply(text, (call, ToolCall("other", None, "second")))

    agent = Parsing([])
    episode = asyncio.run(environment.play(problem, agent))
    assert episode.turns[0].formed
    assert episode.turns[0].feedback == "8\n8"
    said, first, second = agent.seen[2:]
    assert [call["id"] for call in said["tool_calls"]] == ["first", "second"]
    assert (first["tool_call_id"], first["content"]) == ("first", "8\n8")
    assert (second["tool_call_id"], second["name"]) == ("second", "other")
    # What can't be read has no arguments, not those of the text "null".
    assert said["tool_calls"][1]["function"]["arguments"] == {}


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ("SELECT x FROM y", "no such table"),
        ("DROP TABLE x", "syntax|not authorized|no such"),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
            "SELECT x FROM c",
            "more rows than are compared",
        ),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
            "SELECT COUNT(*) FROM c",
            "interrupted",
        ),
    ],
)
def test_a_broken_data_set_is_a_failure_and_no_reward(
    environment, problem, expected, message
):
    broken = Problem("x", problem.prompt, expected, problem.extra)
    episode = play(environment, broken, expert_turns(problem))
    assert episode.rewards == (0.0, 0.0)
    assert re.search(message, episode.failure.message)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (((1,), (2,)), ((2,), (1,)), True),
        (((1,), (1,)), ((1,),), False),
        (((1,), (1,), (2,)), ((1,), (2,), (2,)), False),
        (((1, "x"),), ((1.0, "x"),), True),
        (((1,),), (("1",),), False),
        (((None,),), ((0,),), False),
        (((1, 2),), ((2, 1),), False),
        ((), (), True),
    ],
)
def test_results_are_compared_as_multisets(first, second, expected):
    a, b = Rows(("a",), first, cut=False), Rows(("b",), second, cut=False)
    assert same_results(a, b) is same_results(b, a) is expected
    assert not same_results(a, dataclasses.replace(b, cut=True))


def test_a_query_may_begin_with_with_and_order_does_not_matter(environment, problem):
    rewards = [
        asyncio.run(
            execution_reward(environment.pool, problem.extra["database"], sql, expected)
        )
        for sql, expected in [
            ("WITH c AS (SELECT 1 AS x) SELECT x FROM c", "SELECT 1"),
            ("SELECT 1 UNION ALL SELECT 1", "SELECT 1"),
            ("SELECT 2 UNION ALL SELECT 1", "SELECT 1 UNION ALL SELECT 2"),
            (None, "SELECT 1"),
        ]
    ]
    assert rewards == [1.0, 0.2, 1.0, 0.0]


def test_the_expected_query_runs_once(environment, problem, tmp_path):
    database = tmp_path / "copy.sqlite"
    shutil.copy(problem.extra["database"], database)

    async def rewarded():
        expected = problem.answer
        return await execution_reward(environment.pool, database, expected, expected)

    async def before_and_after():
        first = await rewarded()
        database.unlink()
        return first, await rewarded()

    # The second answer finds no database, where the expected query would be a failure.
    assert asyncio.run(before_and_after()) == (1.0, 0.0)


def test_many_episodes_share_the_pool(environment, problems):
    async def together():
        agents = [(p, ScriptedAgent(expert_turns(p))) for p in problems[:12]]
        return await asyncio.gather(*(environment.play(p, a) for p, a in agents))

    assert all(one.rewards == (1.1, 1.0) for one in asyncio.run(together()))
