"""Group-relative policy optimization without its two biases."""

import dataclasses

from jaxrl.advantages.groups import group_centred
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import group_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import constant_length


@dataclasses.dataclass(frozen=True)
class DrGrpo:
    """Dr. GRPO: no deviation, no length (Liu et al., 2025, arXiv:2503.20783).

    Differs from `Grpo` in that rewards are only centred, and sums over tokens are
    divided by a constant.

    Attributes:
      length: The constant, in tokens: the longest response that is sampled.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    length: int
    clip_low: float = 0.2
    clip_high: float = 0.2

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Centre rewards within groups; weigh tokens alike, by a constant."""
        return group_credit(
            batch,
            constant_length(batch.mask, batch.sequence, length=self.length),
            compare=group_centred,
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
