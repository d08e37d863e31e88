"""How hard each prompt is: counts that a checkpoint can hold. NumPy, no JAX."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrl.rollout.allocation import priority

Priority = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`(samples [n], successes [n]) -> priorities [n]`."""


@dataclasses.dataclass(frozen=True)
class PromptStatistics:
    """Outcomes of each prompt so far; prompts without samples aren't listed.

    Attributes:
      samples: Prompt id to the number of rewarded samples.
      successes: Prompt id to the number of those with a positive reward.
      priorities: Prompt id to its priority, as of the last `refreshed`.
    """

    samples: Mapping[str, int] = dataclasses.field(default_factory=dict)
    successes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    priorities: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def updated(
        self, prompts: Sequence[str], rewards: Sequence[float]
    ) -> "PromptStatistics":
        """Count samples, after every step; priorities stay as they are.

        Args:
          prompts: Prompt id of each sample, the sample's own: pair them before any
            reordering.
          rewards: Reward of each sample; above 0 is a success.
        """
        samples, successes = dict(self.samples), dict(self.successes)
        for prompt, reward in zip(prompts, rewards, strict=True):
            samples[prompt] = samples.get(prompt, 0) + 1
            successes[prompt] = successes.get(prompt, 0) + int(reward > 0)
        return dataclasses.replace(self, samples=samples, successes=successes)

    def refreshed(self, rule: Priority = priority) -> "PromptStatistics":
        """Recompute all priorities, at the end of every epoch.

        Args:
          rule: `allocation.priority`, with its parameters bound.
        """
        names = list(self.samples)
        counts, successes = (
            np.array([x[name] for name in names], int)
            for x in (self.samples, self.successes)
        )
        values = rule(counts, successes).tolist()
        return dataclasses.replace(
            self, priorities=dict(zip(names, values, strict=True))
        )

    def of(self, prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What `allocation.multi_round` and `one_shot` read.

        Args:
          prompts: Ids of the next batch.

        Returns:
          Samples int [n] and priorities float [n]; 0 and -1 for the unknown.
        """
        return (
            np.array([self.samples.get(name, 0) for name in prompts], int),
            np.array([self.priorities.get(name, -1.0) for name in prompts], float),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `json.dump` or a checkpoint."""
        return {
            field.name: dict(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PromptStatistics":
        """What `as_json` gave.

        Args:
          data: Possibly read back from a file.
        """
        return cls(**data)
