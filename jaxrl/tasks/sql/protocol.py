"""The four phases of TRUST-SQL as text: what is asked, and how a turn is read.

Reference: TRUST-SQL, 2026, arXiv:2603.16448, and its release.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrl.rollout.chat import Reply, Tool, tool_message
from jaxrl.rollout.types import Message
from jaxrl.sandbox.query import Rows
from jaxrl.tasks.sql.schema import Schema, proposed_schema
from jaxrl.tasks.tags import inside

EXPLORE, PROPOSE, GENERATE, CONFIRM = PHASES = (
    "explore_schema",
    "propose_schema",
    "generate_sql",
    "confirm_answer",
)
PAYLOADS = {
    EXPLORE: "tool_call",
    PROPOSE: "schema",
    GENERATE: "tool_call",
    CONFIRM: "answer",
}
INVALID = "Invalid format"
MARKERS = (INVALID, "try again", "syntax error")
"""A feedback with one of these costs the reward for the format."""
SHOWN_ROWS = 100

EXECUTE_SQL: Tool = {
    "type": "function",
    "function": {
        "name": "execute_sql_query",
        "description": "Run one read-only SQL statement on an SQLite database.",
        "parameters": {
            "type": "object",
            "properties": {
                "db_id": {"type": "string", "description": "Id of the database."},
                "sql": {"type": "string", "description": "The statement."},
            },
            "required": ["db_id", "sql"],
        },
    },
}

_CALL = (
    '<tool_call>{"name": "execute_sql_query", "arguments": '
    '{"db_id": "...", "sql": "..."}}</tool_call>'
)
_FORMS = f"""\
1. explore_schema: ask the database for tables, columns and sample values.
<think>...</think>
<action>explore_schema</action>
{_CALL}
2. propose_schema: name all tables and columns that the query needs, and no others.
<think>...</think>
<action>propose_schema</action>
<schema>{{"tables": ["..."], "columns": {{"table": ["column"]}}}}</schema>
3. generate_sql: run the query that you want to answer with, and look at its result.
<think>...</think>
<action>generate_sql</action>
{_CALL}
4. confirm_answer: give the query that you have verified.
<think>...</think>
<action>confirm_answer</action>
<answer>
```sql
SELECT ...
```
</answer>"""
ROLE = f"""\
You write an SQLite query that answers a question. You don't know the schema of the
database: find it out with the tool, and never guess a table or a column. Each of your
turns is one of four actions, in exactly this form. Take each at least once, in this
order; you may go back.
{_FORMS}"""
REMINDER = f"""\
{INVALID}: a turn needs one think block, one action and what belongs to it.
{_FORMS}"""


@dataclasses.dataclass(frozen=True)
class Query:
    """A turn that wants SQL to be run, on this database or on the task's."""

    sql: str
    database: str


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A turn that proposes a schema; None, with the problem, if it can't be read."""

    schema: Schema | None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Answer:
    """The turn that ends an episode."""

    sql: str


Payload = Query | Proposal | Answer | None


def prompt(question: str, db_id: str, evidence: str) -> tuple[Message, ...]:
    """What an agent is asked.

    Args:
      question: In natural language.
      db_id: The database, as the tool knows it.
      evidence: A hint of the data set; empty if there is none.
    """
    hint = f"\nHint: {evidence}" if evidence else ""
    asked = f"Database: {db_id}\nQuestion: {question}{hint}"
    return (
        {"role": "system", "content": ROLE},
        {"role": "user", "content": asked},
    )


def payload_of(reply: Reply) -> Payload:
    """What a turn wants: its answer, else its proposal, else its query, else None.

    Args:
      reply: Calls of the tool may be in the text, or parsed already.
    """
    answer, schema, call = (
        inside(reply.text, tag) for tag in ("answer", "schema", "tool_call")
    )
    if answer is not None:
        return Answer(_unfenced(answer))
    if schema is not None:
        return _proposal(schema)
    if reply.tool_calls:
        first = reply.tool_calls[0]
        return _query({"name": first.name, "arguments": first.arguments})
    return None if call is None else _query(_parsed(call))


def action_of(text: str) -> str | None:
    """The action that a turn names, if it names one of the four and no other.

    >>> action_of("<think>.</think><action> explore_schema </action>")
    'explore_schema'
    """
    closed = text.split("</action>")[:-1]
    named = [part.partition("<action>")[2] for part in closed if "<action>" in part]
    return named[0].strip() if len(named) == 1 and named[0].strip() in PHASES else None


def well_formed(reply: Reply) -> bool:
    """True for one think block, one action, and the opening of what belongs to it."""
    action = action_of(reply.text)
    if action is None:
        return False
    thought = [reply.text.count(tag) for tag in ("<think>", "</think>")] == [1, 1]
    payload = PAYLOADS[action]
    called = payload == "tool_call" and bool(reply.tool_calls)
    return thought and (called or f"<{payload}>" in reply.text)


def shown(rows: Rows) -> str:
    """A result as an agent sees it: columns, at most 100 rows, and how many are left.

    >>> print(shown(Rows(("a", "b"), ((1, None),), cut=False)).replace("\\t", "|"))
    a|b
    1|NULL
    """
    if not rows.rows:
        return "The query ran and returned no rows."
    lines = ["\t".join(rows.columns)]
    lines += ["\t".join(map(_value, row)) for row in rows.rows[:SHOWN_ROWS]]
    left = len(rows.rows) - SHOWN_ROWS
    if left > 0 or rows.cut:
        more = "or more " if rows.cut else ""
        lines.append(f"... ({max(left, 1)} {more}rows not shown)")
    return "\n".join(lines)


def acknowledged(proposal: Proposal) -> str:
    """The feedback to a proposal."""
    if proposal.schema is None:
        return (
            f"Error: the schema can't be read: {proposal.problem}. Write "
            '{"tables": ["..."], "columns": {"table": ["column"]}}'
        )
    tables, columns = len(proposal.schema.tables), len(proposal.schema.columns)
    return f"Schema noted: {tables} table(s), {columns} column(s). Go on to the query."


def turn(action: str, thought: str, payload: str) -> str:
    """The text of a well-formed turn."""
    tag = PAYLOADS[action]
    return (
        f"<think>{thought}</think>\n<action>{action}</action>\n<{tag}>{payload}</{tag}>"
    )


def call(db_id: str, sql: str) -> str:
    """The payload of a turn that runs SQL; without an id, on the task's database."""
    arguments = {"db_id": db_id, "sql": sql} if db_id else {"sql": sql}
    return json.dumps({"name": EXECUTE_SQL["function"]["name"], "arguments": arguments})


def feedback_messages(reply: Reply, feedback: str) -> Sequence[Message]:
    """The observation, for every call that was parsed: only the first one was run."""
    if not reply.tool_calls:
        return [{"role": "tool", "content": feedback}]
    texts = [feedback] + ["Error: one call in a turn"] * (len(reply.tool_calls) - 1)
    return [tool_message(*both) for both in zip(reply.tool_calls, texts, strict=True)]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return error


def _proposal(text: str) -> Proposal:
    written = _parsed(text)
    if isinstance(written, Exception):
        return Proposal(None, f"it is no JSON ({written})")
    try:
        return Proposal(proposed_schema(written))
    except ValueError as error:
        return Proposal(None, str(error))


def _query(written: Mapping[str, Any] | Any) -> Query | None:
    name = EXECUTE_SQL["function"]["name"]
    match written:
        case {"name": str(named), "arguments": {"sql": str(sql), **rest}}:
            database = rest.get("db_id", "")
            known = named == name and isinstance(database, str)
            return Query(sql, database) if known else None
    return None


def _unfenced(answer: str) -> str:
    # Every part of it must match in one way only: a policy finds what takes cubic time.
    fenced = re.search(r"```(?:sql)?\s(.*?)```", answer, re.DOTALL | re.IGNORECASE)
    return fenced[1].strip() if fenced else answer


def _value(value: Any) -> str:
    return "NULL" if value is None else str(value)
