"""Text-to-SQL with an unknown schema as the environment of a run."""

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial

from jaxrl.rollout.chat import ChatAgent
from jaxrl.rollout.environment import Judged, Outcome, Play
from jaxrl.rollout.types import SEAT, Problem
from jaxrl.sandbox.query import QueryLimits
from jaxrl.sandbox.sql import SqlPool
from jaxrl.tasks.sql.environment import SqlEnvironment
from jaxrl.tasks.sql.execution import CORRECT
from jaxrl.tasks.sql.schema import SchemaScore, total_match


@contextlib.contextmanager
def sql_task(
    *,
    workers: int = 2,
    limits: QueryLimits | None = None,
    score: SchemaScore = total_match,
    max_turns: int = 10,
    max_feedback: int = 4096,
) -> Iterator[Play]:
    """Open the task of `SqlEnvironment`; `Environment.open`, with options bound.

    The reward channels are those of `methods.dual_track.DualTrackGrpo`.

    Args:
      workers: Queries at once.
      limits: Of every query.
      score: Of a proposed schema.
      max_turns: Of an episode.
      max_feedback: Characters of an observation.
    """
    with SqlPool(workers=workers, limits=limits) as pool:
        rules = SqlEnvironment(
            pool, score=score, max_turns=max_turns, max_feedback=max_feedback
        )
        yield partial(play_sql, rules)


async def play_sql(
    rules: SqlEnvironment, problem: Problem, agents: Mapping[str, ChatAgent]
) -> Outcome:
    """Play an episode, and say what its turns are worth.

    Turns up to the last proposal are of channel 1, the schema's.

    Args:
      rules: Of an episode.
      problem: Of `loader`.
      agents: The one that answers.
    """
    episode = await rules.play(problem, agents[SEAT])
    turns = episode.turns
    judged = Judged(
        episode.rewards,
        channels=[int(i < episode.schema_turns) for i in range(len(turns))],
        anchors=["", *(turn.feedback for turn in turns[:-1])],
    )
    numbers = {
        "answers_right": float(episode.execution == CORRECT),
        "turns_formed": sum(turn.formed for turn in turns) / len(turns),
    }
    return Outcome({SEAT: judged}, numbers, episode.failure)
