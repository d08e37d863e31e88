"""Clipped importance-sampling weights."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.clipping import cispo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Cispo:
    """CISPO: clip weights, keep gradients (MiniMax, 2025, arXiv:2506.13585).

    Equation 4. Differs from the paper, which gives no number for the upper bound.

    Attributes:
      lower: Smallest weight, a ratio; 0 for none.
      upper: Largest weight, a ratio.
    """

    lower: float = 0.0
    upper: float = 5.0

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient with clipped weights."""
        surrogate = partial(cispo, lower=self.lower, upper=self.upper)
        return surrogate_loss(scores, batch, credit, surrogate)
