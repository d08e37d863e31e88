"""Recorded episodes as JSON, and as episodes to train on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrl.errors import UserError
from jaxrl.rollout.environment import Judged, Outcome
from jaxrl.rollout.episodes import Job, recorded
from jaxrl.rollout.types import Completion, Episode, Problem, Turn
from jaxrl.truncation import FULL, Distribution

AGENT = "policy"


class Drawn(NamedTuple):
    """A turn, and the distribution that its log-probabilities belong to."""

    turn: Turn
    drawn_from: Distribution


def record_of(
    name: str,
    turns: Sequence[Drawn],
    rewards: Sequence[float] | None,
    turn_rewards: Sequence[float],
) -> dict[str, Any]:
    """A trajectory as JSON: exactly the tokens and numbers of the sampler.

    Args:
      name: Of the episode.
      turns: In order.
      rewards: One number per reward channel; None while it is open.
      turn_rewards: Of each turn, or empty.
    """
    return {
        "name": name,
        "rewards": None if rewards is None else [*rewards],
        "turn_rewards": [*turn_rewards],
        "turns": [
            {
                "prompt": turn.prompt.tolist(),
                "tokens": turn.completion.tokens.tolist(),
                "logp": turn.completion.logp.tolist(),
                "drawn_from": dataclasses.asdict(drawn_from),
                "version": turn.completion.version,
                "finished": turn.completion.finished,
            }
            for turn, drawn_from in turns
        ],
    }


def turns_of(record: Mapping[str, Any]) -> list[Drawn]:
    """The turns of a record, open or closed.

    Raises:
      UserError: If it is no record.
    """
    match record:
        case {"name": name, "rewards": None | [*_], "turns": [*turns]}:
            pass
        case _:
            raise UserError("an episode's record needs name, rewards and turns")
    try:
        return [_turn(turn) for turn in turns]
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"episode {name}: a turn can't be read: {error!r}") from None


def episode_of(
    record: Mapping[str, Any],
    problem: Problem,
    group: int,
    *,
    channels: int = 1,
    drawn_from: Distribution = FULL,
) -> Episode:
    """A closed record as an episode for `agent_batch`.

    Args:
      record: As `GET /episodes/NAME` shows it, and as its file holds it.
      problem: The task that it is an episode of.
      group: Episodes with an equal value are compared.
      channels: Reward channels; a record with another number of rewards is counted as
        malformed, and not trained.
      drawn_from: What the trainer takes log-probabilities under. Clients choose what
        each turn is drawn from, and ratios to anything else would be wrong.

    Raises:
      UserError: If it is no record, still open, or drawn from something else.
    """
    said = turns_of(record)
    name, rewards = record["name"], record["rewards"]
    if rewards is None:
        raise UserError(f"episode {name} has no reward yet; post one to close it")
    for number, turn in enumerate(said, 1):
        if turn.drawn_from != drawn_from:
            raise UserError(
                f"episode {name}: turn {number} has drawn_from {turn.drawn_from}, not "
                f"{drawn_from}; have clients ask for the temperature, top_k and top_p "
                "that is trained with, and give it to episode_of"
            )
    judged = Judged(tuple(rewards), tuple(record.get("turn_rewards", [])))
    return recorded(
        Job(0, problem, group),
        Outcome({AGENT: judged}),
        {AGENT: [turn for turn, _ in said]},
        trained=[AGENT],
        channels=channels,
    )


def _turn(turn: Mapping[str, Any]) -> Drawn:
    completion = Completion(
        tokens=np.asarray(turn["tokens"], np.int32),
        logp=np.asarray(turn["logp"], np.float32),
        version=int(turn["version"]),
        finished=bool(turn["finished"]),
    )
    found = Turn(np.asarray(turn["prompt"], np.int32), completion)
    return Drawn(found, Distribution(**turn["drawn_from"]))
