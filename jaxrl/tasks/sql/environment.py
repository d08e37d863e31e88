"""An agent finds out a database's schema and answers a question with SQL.

The two reward channels are those of `methods.dual_track.DualTrackGrpo`: the answer's
for all turns, the schema's for those up to the last proposal.

Reference: TRUST-SQL, 2026, arXiv:2603.16448, and its release. Differs from the release:
observations are cut by characters instead of tokens, the tool refuses databases of
other tasks, and a proposal's columns are names alone; see also `execution`.
"""

import dataclasses
import sqlite3
from collections.abc import Sequence
from typing import Any

from jaxrl.rollout.chat import ChatAgent, LimitReached, Reply, assistant_message
from jaxrl.rollout.types import Failure, Problem
from jaxrl.sandbox.sql import SqlPool
from jaxrl.tasks.sql import protocol
from jaxrl.tasks.sql.execution import CORRECT, execution_reward
from jaxrl.tasks.sql.protocol import Answer, Proposal, Query
from jaxrl.tasks.sql.schema import Schema, SchemaScore, total_match, used_schema

FORMAT_REWARD = 0.1


@dataclasses.dataclass(frozen=True)
class SqlTurn:
    """One turn of the agent.

    Attributes:
      reply: What it wrote.
      payload: What it wants, as read from the reply.
      action: The phase that it names, or None.
      formed: True if it has the form of its phase.
      feedback: What it was told; empty after an answer, or where it was cut.
    """

    reply: Reply
    payload: protocol.Payload
    action: str | None
    formed: bool
    feedback: str


@dataclasses.dataclass(frozen=True)
class SqlEpisode:
    """One question, played to its end.

    Attributes:
      turns: In order.
      schema_turns: How many of the first turns the schema's reward credits: up to the
        last proposal, or to the last exploration if there is none.
      proposed: The last proposal, if it could be read.
      answer: The query, or None.
      execution: 1 right, 0.2 executable, 0 neither.
      format: 0.1 if every turn keeps the protocol, else 0.
      schema: Score of the proposal; 0 unless the answer is right.
      ended: "answer", "turns", "context", or "length" where the last turn was cut, and
        not carried out.
      failure: Set if the rewards are unknown, and 0, for no fault of the agent.
    """

    turns: tuple[SqlTurn, ...]
    schema_turns: int
    proposed: Schema | None
    answer: str | None
    execution: float
    format: float
    schema: float
    ended: str
    failure: Failure | None = None

    @property
    def rewards(self) -> tuple[float, float]:
        """The channels: answer and format, schema."""
        return self.execution + self.format, self.schema


@dataclasses.dataclass(frozen=True)
class SqlEnvironment:
    """The rules of an episode.

    Attributes:
      pool: Runs all SQL.
      score: Of a proposal against the schema that the expected query uses.
      max_turns: Of an episode.
      max_context: Tokens read and written, where the agent counts them, after which an
        episode ends.
      max_feedback: Characters of an observation.
    """

    pool: SqlPool
    score: SchemaScore = total_match
    max_turns: int = 10
    max_context: int = 40_000
    max_feedback: int = 4096

    async def play(self, problem: Problem, agent: ChatAgent) -> SqlEpisode:
        """Let an agent work on a problem, and reward it.

        Args:
          problem: Of `loader`.
          agent: Sees the prompt, the tool and what it was told.
        """
        messages: list[Any] = list(problem.prompt)
        turns: list[SqlTurn] = []
        ended = "turns"
        while len(turns) < self.max_turns:
            try:
                reply = await agent.reply(messages, [protocol.EXECUTE_SQL])
            except LimitReached:
                if not turns:
                    raise
                ended = "context"
                break
            if not reply.finished:
                # What a limit cut may lack its end, even where it can be read.
                turns.append(SqlTurn(reply, None, None, formed=False, feedback=""))
                ended = "length"
                break
            payload = protocol.payload_of(reply)
            feedback = await self._feedback(payload, problem)
            action, formed = protocol.action_of(reply.text), protocol.well_formed(reply)
            turns.append(SqlTurn(reply, payload, action, formed, feedback))
            if isinstance(payload, Answer):
                ended = "answer"
                break
            if reply.prompt_tokens + reply.completion_tokens > self.max_context:
                ended = "context"
                break
            messages.append(assistant_message(reply))
            messages.extend(protocol.feedback_messages(reply, feedback))
        return await self._rewarded(problem, turns, ended)

    async def _feedback(self, payload: protocol.Payload, problem: Problem) -> str:
        match payload:
            case Answer():
                return ""
            case Proposal():
                text = protocol.acknowledged(payload)
            case Query(sql=sql, database=named):
                text = await self._result(sql, named, problem)
            case _:
                return protocol.REMINDER
        if len(text) <= self.max_feedback:
            return text
        return f"{text[: self.max_feedback]}\n... (cut)"

    async def _result(self, sql: str, named: str, problem: Problem) -> str:
        db_id = problem.extra["db_id"]
        if named not in ("", db_id):
            return f"Error: there is no database {named[:100]!r}, only {db_id!r}"
        if not sql.strip():
            return "Error: the SQL is empty"
        found = await self.pool.query(problem.extra["database"], sql)
        return (
            f"Error: {found.message}"
            if isinstance(found, Failure)
            else protocol.shown(found)
        )

    async def _rewarded(
        self, problem: Problem, turns: Sequence[SqlTurn], ended: str
    ) -> SqlEpisode:
        payloads = [turn.payload for turn in turns]
        last = payloads[-1]
        answer = last.sql if isinstance(last, Answer) else None
        proposals = [p.schema for p in payloads if isinstance(p, Proposal)]
        episode = SqlEpisode(
            turns=tuple(turns),
            schema_turns=schema_turns(turns),
            proposed=proposals[-1] if proposals else None,
            answer=answer,
            execution=0.0,
            format=format_reward(turns),
            schema=0.0,
            ended=ended,
        )
        database = problem.extra["database"]
        try:
            expected = used_schema(str(database), problem.answer)
        except sqlite3.Error as error:
            failure = Failure("error", f"the expected query: {error}")
            return dataclasses.replace(episode, format=0.0, failure=failure)
        execution = await execution_reward(self.pool, database, answer, problem.answer)
        if isinstance(execution, Failure):
            return dataclasses.replace(episode, format=0.0, failure=execution)
        right = execution == CORRECT and episode.proposed is not None
        return dataclasses.replace(
            episode,
            execution=execution,
            schema=self.score(episode.proposed, expected)
            if right and episode.proposed
            else 0.0,
        )


def format_reward(turns: Sequence[SqlTurn]) -> float:
    """0.1 if all turns are well-formed, all phases occur and no feedback has a marker.

    Args:
      turns: Of an episode.
    """
    clean = not any(mark in t.feedback for t in turns for mark in protocol.MARKERS)
    complete = {t.action for t in turns} >= set(protocol.PHASES)
    kept = clean and complete and all(t.formed for t in turns)
    return FORMAT_REWARD if kept else 0.0


def schema_turns(turns: Sequence[SqlTurn]) -> int:
    """How many turns belong to the schema's track; 0 if nothing was looked for.

    Args:
      turns: Of an episode.
    """
    proposals = [i for i, t in enumerate(turns, 1) if isinstance(t.payload, Proposal)]
    explorations = [
        i
        for i, turn in enumerate(turns, 1)
        if turn.action == protocol.EXPLORE and isinstance(turn.payload, Query)
    ]
    return max(proposals or explorations or [0])
