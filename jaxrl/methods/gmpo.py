"""Geometric-mean policy optimization."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.sequence import gmpo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean


@dataclasses.dataclass(frozen=True)
class Gmpo:
    """GMPO: geometric mean of clipped ratios (Zhao et al., 2025, arXiv:2507.20673).

    Equation 4.

    Attributes:
      clip_low: Lower limit of a log ratio, negated, nats.
      clip_high: Upper limit of a log ratio, nats.
    """

    clip_low: float = 0.4
    clip_high: float = 0.4

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh sequences alike."""
        return group_credit(batch, sequence_mean(batch.mask, batch.sequence))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient of the geometric mean."""
        surrogate = partial(
            gmpo, low=self.clip_low, high=self.clip_high, sequence=batch.sequence
        )
        return surrogate_loss(scores, batch, credit, surrogate)
