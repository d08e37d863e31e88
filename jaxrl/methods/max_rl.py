"""Maximum likelihood reinforcement learning."""

import dataclasses

from jaxrl.advantages.baselines import mean_normalised
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import group_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class MaxRl:
    """MaxRL: divide by the group's mean (Tajwar et al., 2026, arXiv:2602.02710).

    Ascends the log of the chance of success rather than the chance. Rewards must not be
    negative, and should be 0 or 1. Reconstruction: clipping and averaging follow DAPO.

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    clip_low: float = 0.2
    clip_high: float = 0.28

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards by the mean of the group; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask), compare=mean_normalised)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
