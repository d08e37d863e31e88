"""Gradient-preserving policy optimization."""

import dataclasses
import math
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.decay import gppo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Gppo:
    """GPPO: a constant gradient beyond the clip (Su et al., 2025, arXiv:2508.07629).

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      cap: Largest ratio of a token with negative advantage; infinity for none.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    cap: float = math.inf

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient whose slope is constant beyond the bounds."""
        surrogate = partial(gppo, low=self.clip_low, high=self.clip_high, cap=self.cap)
        return surrogate_loss(scores, batch, credit, surrogate)
