"""What a run costs, and how it fails."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from jaxrl.tasks.silo.answers import is_near, lenient_reading
from jaxrl.tasks.silo.board import Transfer
from jaxrl.tasks.silo.environment import Environment, Member
from jaxrl.tasks.silo.instances import Instance
from jaxrl.tasks.silo.scoring import mended_equal

LEADING = 1.5
"""Times the mean number of received messages from which on an agent leads."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run took.

    Attributes:
      rounds: That were carried out.
      prompt_tokens: Read by all agents.
      completion_tokens: Written by all agents.
      tokens_paper: Written tokens for each round, C of the paper.
      tokens_code: Read and written tokens for each round, C of the released code.
      events: Messages sent, or files written.
      transfers: Messages delivered, or files of others read.
      density_events: D of the released code, from `events`.
      density_transfers: D of the paper, from `transfers`.
      invalid: Replies without a valid call.
    """

    rounds: int
    prompt_tokens: int
    completion_tokens: int
    tokens_paper: float
    tokens_code: float
    events: int
    transfers: int
    density_events: float
    density_transfers: float
    invalid: int


@dataclasses.dataclass(frozen=True)
class Failings:
    """How a run went wrong; several can be true.

    Attributes:
      premature: An agent submitted before what it depends on could have reached it.
      consensus: Agents that should give the same answer gave different ones.
      computation: An agent that could know everything gave a wrong answer.
      leader: An agent received more than 1.5 times the mean number of messages.
    """

    premature: bool
    consensus: bool
    computation: bool
    leader: bool


def token_consumption(tokens: int, rounds: int) -> float:
    """C: tokens for each round; 0 without rounds.

    >>> token_consumption(1000, 8)
    125.0
    """
    return tokens / rounds if rounds else 0.0


def communication_density(messages: int, agents: int) -> float:
    """D: messages for each ordered pair of agents; 0 without pairs.

    >>> communication_density(8, 5)
    0.4
    """
    return messages / (agents * (agents - 1)) if agents > 1 else 0.0


def coordination_cost(team: float | None, alone: float | None) -> float | None:
    """RCC: share of success that is lost to splitting the input; None if unknown.

    >>> print(f"{coordination_cost(0.82, 0.967):.3f}")
    0.152

    Args:
      team: Success rate of the team.
      alone: Success rate of one agent with the same whole input.
    """
    return 1 - team / alone if alone and team is not None else None


def cost_of(run: Environment) -> Cost:
    """What a run took."""
    agents, rounds = len(run.members), run.rounds
    read = sum(member.prompt_tokens for member in run.members)
    written = sum(member.completion_tokens for member in run.members)
    events, transfers = sum(run.board.events), len(run.board.transfers)
    return Cost(
        rounds=rounds,
        prompt_tokens=read,
        completion_tokens=written,
        tokens_paper=token_consumption(written, rounds),
        tokens_code=token_consumption(read + written, rounds),
        events=events,
        transfers=transfers,
        density_events=communication_density(events, agents),
        density_transfers=communication_density(transfers, agents),
        invalid=sum(member.invalid for member in run.members),
    )


def failings_of(run: Environment) -> Failings:
    """How a run went wrong, by what could have reached whom.

    What an agent knows is not judged by the content of messages: whatever it sends may
    carry all that had reached it before.
    """
    submitted = [(i, m) for i, m in enumerate(run.members) if m.submitted is not None]
    informed = [_is_informed(run.instance, i, member) for i, member in submitted]
    wrong = [not _is_right(run.instance, i, member) for i, member in submitted]
    answers = [lenient_reading(member.answer) for _, member in submitted]
    agree = all(is_near(answer, answers[0], 0.0) for answer in answers)
    return Failings(
        premature=not all(informed),
        consensus=not run.instance.task.segmented and not agree,
        computation=any(a and b for a, b in zip(informed, wrong, strict=True)),
        leader=has_leader(run.board.transfers, len(run.members)),
    )


def has_leader(transfers: Sequence[Transfer], agents: int) -> bool:
    """Whether one agent received more than 1.5 times the mean number of messages."""
    received = Counter(transfer.target for transfer in transfers)
    return max(received.values(), default=0) > LEADING * len(transfers) / agents


def _is_informed(instance: Instance, agent: int, member: Member) -> bool:
    return instance.task.sources(agent, instance.agents) <= member.informed


def _is_right(instance: Instance, agent: int, member: Member) -> bool:
    expected, tolerance = instance.expected[agent], instance.task.tolerance
    return mended_equal(member.answer, expected, tolerance=tolerance)
