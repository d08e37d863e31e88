"""Decoupled clip and dynamic sampling policy optimization."""

import dataclasses

from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import group_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Dapo:
    """DAPO: clip-higher, token mean, no KL (Yu et al., 2025, arXiv:2503.14476).

    Differs from `Grpo` only in the upper clip and in the weights. Dynamic sampling and
    overlong shaping are choices of the rollouts: `jaxrl.rollout.filtering` and
    `jaxrl.rollout.shaping`.

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    clip_low: float = 0.2
    clip_high: float = 0.28

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
