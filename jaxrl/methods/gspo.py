"""Group sequence policy optimization."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.sequence import gspo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean


@dataclasses.dataclass(frozen=True)
class Gspo:
    """GSPO: clip the ratio of the sequence (Zheng et al., 2025, arXiv:2507.18071).

    Equation 5. The bounds are far narrower than those of a token's ratio.

    Attributes:
      clip_low: Distance of the lower bound of the mean ratio from 1.
      clip_high: Distance of the upper bound of the mean ratio from 1.
    """

    clip_low: float = 3e-4
    clip_high: float = 4e-4

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh sequences alike."""
        return group_credit(batch, sequence_mean(batch.mask, batch.sequence))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient, clipped sequence by sequence."""
        surrogate = partial(
            gspo, low=self.clip_low, high=self.clip_high, sequence=batch.sequence
        )
        return surrogate_loss(scores, batch, credit, surrogate)
