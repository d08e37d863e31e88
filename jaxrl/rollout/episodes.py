"""One episode from its beginning to its record, whatever happens to it."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrl.errors import UserError
from jaxrl.rollout.anchors import fingerprint
from jaxrl.rollout.chat import ChatAgent, LimitReached
from jaxrl.rollout.chat_policy import UnansweredError
from jaxrl.rollout.environment import Judged, Outcome, Play
from jaxrl.rollout.types import Episode, Failure, Problem, Trace, Turn
from jaxrl.rollout.worker import LARGEST

GRACE = 1.0
"""Seconds in which an episode that is out of time may end in order."""
SHOWN = 500
"""Characters of an error that a record keeps."""
FAILURES = {
    "timeout": "episodes_late",
    "error": "episodes_crashed",
    "limit": "episodes_out_of_room",
    "malformed": "episodes_malformed",
}
"""Kind of failure to the number under which it is logged, a share of the episodes."""


@dataclasses.dataclass(frozen=True)
class Job:
    """An episode to be played.

    Attributes:
      index: Among the episodes of the step.
      problem: The task.
      group: Episodes with an equal value are compared.
    """

    index: int
    problem: Problem
    group: int


async def played(
    play: Play, job: Job, agents: Mapping[str, ChatAgent], *, deadline: float
) -> Outcome | Failure:
    """Play an episode; only a `UserError` is raised.

    One that takes no notice of being cancelled is left behind. Of several errors that
    are raised together a `UserError` counts, then a `LimitReached`, then the first.

    Args:
      play: The task.
      job: The episode.
      agents: By name.
      deadline: Seconds.
    """
    task = asyncio.ensure_future(_guarded(play, job.problem, agents))
    try:
        await asyncio.wait([task], timeout=deadline)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=GRACE)
            return Failure("timeout", f"the episode took more than {deadline:g} s")
        if task.cancelled():
            return Failure("error", "the environment was cancelled")
        return task.result()
    except UserError:
        raise
    except UnansweredError as error:
        return error.failure
    except LimitReached as error:
        return Failure("limit", _text(error))
    except TimeoutError as error:
        return Failure("timeout", _text(error) or "a reply or a tool took too long")
    except Exception as error:
        return Failure("error", _described(error))


async def _guarded(
    play: Play, problem: Problem, agents: Mapping[str, ChatAgent]
) -> Outcome:
    try:
        return await play(problem, agents)
    except (SystemExit, KeyboardInterrupt, BaseExceptionGroup) as error:
        one = _one_of(error)
        if isinstance(one, Exception | asyncio.CancelledError):
            raise one from None
        # It would end the thread of all episodes.
        raise RuntimeError(f"the environment raised {type(one).__name__}") from error


def _one_of(error: BaseException) -> BaseException:
    """The error that counts in a group, as task groups raise them."""
    while isinstance(error, BaseExceptionGroup):
        chosen = error.subgroup(UserError) or error.subgroup(LimitReached) or error
        error = chosen.exceptions[0]
    return error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {_text(error)}"[:SHOWN]


def _text(error: Exception) -> str:
    """What an error says, if it can."""
    try:
        return str(error)[:SHOWN]
    except Exception:
        return ""


def recorded(
    job: Job,
    found: Outcome | Failure,
    turns: Mapping[str, Sequence[Turn]],
    *,
    trained: Sequence[str],
    channels: int,
) -> Episode:
    """What was played as an episode whose trainable traces come first.

    Args:
      job: The episode.
      found: What came of it.
      turns: Of the agents whose tokens are known, by name.
      trained: Names of those that may be trained.
      channels: Reward channels.
    """
    numbers = {name: 0.0 for name in FAILURES.values()}
    judged: Mapping[str, Trace] = {}
    failure = None
    if isinstance(found, Failure):
        failure = found
    elif isinstance(found, Outcome):
        try:
            failure = _known(found.failure)
            numbers |= {name: float(value) for name, value in found.numbers.items()}
            judged = {
                name: _bounded(_judged(name, turns[name], own, name in trained))
                for name, own in _checked(found, turns, trained, channels).items()
                if name in turns
            }
        except Exception as error:  # It may be made of anything.
            failure = failure or Failure("malformed", _described(error))
    else:
        failure = Failure("malformed", f"play returned {type(found).__name__}")
    if failure is not None and failure.kind in FAILURES:
        numbers[FAILURES[failure.kind]] = 1.0
    traces = []
    for name in [*trained, *(name for name in turns if name not in trained)]:
        trace = judged.get(name)
        if trace is None or failure is not None:
            said, rewards = tuple(turns[name]), (0.0,) * channels
            trace = Trace(said, rewards, name, name in trained, failure)
        traces.append(trace)
    count = sum(len(turns[name]) for name in trained)
    numbers = {"turns": float(count), **numbers}
    return Episode(job.problem, tuple(traces), job.group, numbers)


def _known(failure: Any) -> Failure | None:
    match failure:
        case None | Failure(kind=str(), message=str()):
            return failure
    raise TypeError(f"failure is {failure!r}, not a Failure or None")


def _bounded(trace: Trace) -> Trace:
    """The trace, if its rewards are numbers that fit into a batch."""
    said = {
        "rewards": trace.rewards,
        "turn_rewards": [turn.reward for turn in trace.turns],
        "penalties": [turn.penalty for turn in trace.turns],
    }
    for field, rewards in said.items():
        if not all(abs(reward) <= LARGEST for reward in rewards):
            raise ValueError(
                f"{field} of {trace.agent} are {[*rewards]}; give what float32 holds"
            )
    return trace


def _checked(
    outcome: Outcome,
    turns: Mapping[str, Sequence[Turn]],
    trained: Sequence[str],
    channels: int,
) -> Mapping[str, Judged]:
    """The verdicts, if they can be used; a ValueError says what is wrong."""
    missing = [name for name in trained if name not in outcome.agents]
    if missing:
        raise ValueError(f"the outcome says nothing of {', '.join(missing)}")
    for name, judged in outcome.agents.items():
        if len(judged.rewards) != channels or not np.isfinite(judged.rewards).all():
            raise ValueError(
                f"rewards of {name} are {judged.rewards}, not {channels} finite numbers"
            )
        if name not in turns:
            continue
        count = len(turns[name])
        for field in ("turn_rewards", "channels", "anchors", "penalties"):
            size = len(vars(judged)[field])
            if size not in (0, count):
                raise ValueError(f"{name} has {count} turns and {size} {field}")
        hash(fingerprint(list(judged.anchors)))
    return outcome.agents


def _judged(name: str, turns: Sequence[Turn], judged: Judged, trained: bool) -> Trace:
    """An agent's turns with what the environment says of each."""
    count = len(turns)
    last = (*(0.0,) * (count - 1), float(sum(judged.rewards)))
    columns: tuple[Sequence[Any], ...] = (
        [*judged.turn_rewards] or last[:count],
        [*judged.channels] or (0,) * count,
        [fingerprint(anchor) for anchor in judged.anchors] or (None,) * count,
        [*judged.penalties] or (0.0,) * count,
    )
    said = tuple(
        dataclasses.replace(
            turn,
            reward=float(reward),
            channel=int(channel),
            anchor=anchor,
            penalty=float(penalty),
        )
        for turn, reward, channel, anchor, penalty in zip(turns, *columns, strict=True)
    )
    return Trace(said, tuple(judged.rewards), name, trained and judged.trainable)
