"""Sharing out the samples of a step over its prompts, from what is known of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

from jaxrl.rollout.allocation import Budget, one_shot, priority
from jaxrl.rollout.difficulty import Priority, PromptStatistics
from jaxrl.rollout.types import Episode, Problem


@dataclasses.dataclass(frozen=True)
class Allocation:
    """How the samples of a step are shared out over its prompts (DynaMO).

    The budget is that of equal shares, prompts times samples of each. Prompts that were
    hardly sampled come first; the rest goes where outcomes vary. Reference: DynaMO,
    2026, arXiv:2602.19208, section on allocation; `rollout.allocation` has the rules.

    Attributes:
      lowest: Samples that each prompt gets.
      highest: Samples that no prompt exceeds.
      initial: A prompt with fewer samples so far is first brought up to it.
      refresh_every: Steps between two updates of the priorities; an epoch's are the
        paper's choice.
      rule: `allocation.one_shot` or, as released, `allocation.multi_round`.
      priority: `allocation.priority`, with other parameters bound.
    """

    lowest: int = 4
    highest: int = 16
    initial: int = 4
    refresh_every: int = 10
    rule: Callable[..., np.ndarray] = one_shot
    priority: Priority = priority


@final
class Allocator:
    """Counts outcomes of prompts and shares out samples accordingly."""

    def __init__(self, allocation: Allocation):
        """Nothing is known yet.

        Args:
          allocation: The rule.
        """
        self._allocation, self._steps = allocation, 0
        self._statistics = PromptStatistics()

    def counts(self, problems: Sequence[Problem], total: int) -> list[int]:
        """Samples of each problem of the next step.

        Args:
          problems: The problems of the step; one that comes twice shares its history.
          total: Samples of the step.

        Returns:
          As many numbers, which add up to `total` as far as the bounds allow.
        """
        rule = self._allocation
        samples, priorities = self._statistics.of([problem.id for problem in problems])
        budget = Budget(total, rule.lowest, rule.highest, rule.initial)
        return rule.rule(samples, priorities, budget).tolist()

    def record(self, episodes: Sequence[Episode]) -> None:
        """Count the outcomes of a step; failed ones tell nothing.

        Args:
          episodes: Of one step.
        """
        good = [episode for episode in episodes if episode.traces[0].failure is None]
        self._statistics = self._statistics.updated(
            [episode.problem.id for episode in good],
            [sum(episode.traces[0].rewards) for episode in good],
        )
        self._steps += 1
        if self._steps % self._allocation.refresh_every == 0:
            self._statistics = self._statistics.refreshed(self._allocation.priority)

    def get_state(self) -> dict[str, Any]:
        """What is known, as JSON values."""
        return {"steps": self._steps, "statistics": self._statistics.as_json()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with what `get_state` returned.

        Args:
          state: Possibly read back from a file.
        """
        self._steps = state["steps"]
        self._statistics = PromptStatistics.from_json(state["statistics"])
