"""Tasks as async functions over agents, and what a run says about playing them."""

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl.rollout.anchors import anchor_ids
from jaxrl.rollout.chat import ChatAgent
from jaxrl.rollout.dialogue import Template
from jaxrl.rollout.tool_calls import Parser, hermes
from jaxrl.rollout.types import Failure, Problem


@dataclasses.dataclass(frozen=True)
class Judged:
    """What an environment says about one agent's part in an episode.

    Attributes:
      rewards: One number per reward channel, for the whole episode.
      turn_rewards: Of each turn of the agent; empty gives the last one the sum of
        `rewards`.
      channels: Kind of segment of each turn; empty is 0 for all.
      anchors: State that the environment was in before each turn, of dictionaries,
        sequences and hashable values; empty takes what the agent was shown.
      penalties: What each turn loses by itself, as for a reply that is no action; see
        `Turn.penalty`. Empty is 0 for all.
      trainable: False leaves the agent's tokens out of training.
    """

    rewards: tuple[float, ...]
    turn_rewards: Sequence[float] = ()
    channels: Sequence[int] = ()
    anchors: Sequence[Any] = ()
    penalties: Sequence[float] = ()
    trainable: bool = True


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an episode ended.

    Attributes:
      agents: By name; of every agent that may be trained.
      numbers: What to log of the episode, as means over a step's episodes.
      failure: Set if the rewards are unknown for no fault of the agents: the episode
        is counted and not trained.
    """

    agents: Mapping[str, Judged]
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    failure: Failure | None = None


Play = Callable[[Problem, Mapping[str, ChatAgent]], Awaitable[Outcome]]
"""A task: `async def play(problem, agents) -> Outcome`."""


@dataclasses.dataclass(frozen=True)
class TrainedPolicy:
    """At a seat: the policy that is trained."""


def plain(play: Play) -> Callable[[], AbstractContextManager[Play]]:
    """An environment that needs nothing but its function.

    Args:
      play: The task.
    """
    return partial(contextlib.nullcontext, play)


@dataclasses.dataclass(frozen=True)
class Environment:
    """Episodes of several turns or agents, in the place of one response and a reward.

    Attributes:
      open: Makes the task and ends what it needs, processes of tools for instance;
        `plain(play)` where there is nothing to end.
      agents: Who sits at each seat: the policy that is trained, another checkpoint's
        directory, or any other agent, whose tokens are not known here.
      reward_channels: Numbers that `Judged.rewards` has.
      parse: How calls of tools are read, where any are offered: `tool_calls.hermes`
        (Qwen) or `tool_calls.llama`.
      template: From messages, tools and whether the next reply is to begin, to text;
        None takes the tokenizer's chat template.
      max_turns: Replies of each agent in an episode.
      turn_deadline: Seconds for one reply, with the time that it waits for a slot.
      episode_deadline: Seconds for an episode.
      concurrency: Live episodes of each process.
      slots: Replies that are sampled at once, on all processes together; None is
        `concurrency`. With fewer the others, whose tools run, leave no slot empty.
      patience: Seconds for which the device waits for episodes that have just been
        answered. Those that go on at once join the next block; where all do, a run
        repeats its bits.
      turns_apart: Every turn is a training sequence of its own, as where prompts are
        rebuilt; else turns share one as long as prompts extend each other.
      turns_as_channels: Append the rewards of `max_turns` turns to the channels, where
        turn-level methods read them (`rollout.turns`).
      discount: Per turn, in the returns of step-level methods.
      alike: From states and their groups to the numbers of states that step-level
        methods compare; with `anchors.similar_anchor_ids`, states must be texts.
    """

    open: Callable[[], AbstractContextManager[Play]]
    agents: Mapping[str, TrainedPolicy | Path | ChatAgent] = dataclasses.field(
        default_factory=lambda: {"policy": TrainedPolicy()}
    )
    reward_channels: int = 1
    parse: Parser = hermes
    template: Template | None = None
    max_turns: int = 8
    turn_deadline: float = 600.0
    episode_deadline: float = 1800.0
    concurrency: int = 64
    slots: int | None = None
    patience: float = 0.005
    turns_apart: bool = False
    turns_as_channels: bool = False
    discount: float = 0.95
    alike: Callable[[Sequence[Any], Sequence[int]], np.ndarray] = anchor_ids

    @property
    def channels(self) -> int:
        """Columns of a batch's rewards."""
        return self.reward_channels + self.turns_as_channels * self.max_turns

    @property
    def trained(self) -> list[str]:
        """Seats of the policy that is trained."""
        return [n for n, seat in self.agents.items() if isinstance(seat, TrainedPolicy)]
