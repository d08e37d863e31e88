"""Asymmetric importance-sampling policy optimization."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.flipped import aspo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Aspo:
    """ASPO: flipped ratios for good tokens (Wang et al., 2025, arXiv:2510.06062).

    Differs from the release, which clips tokens of high entropy by bounds of their own.

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      cap: Largest weight of a token.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    cap: float = 3.0

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient with flipped ratios."""
        surrogate = partial(aspo, low=self.clip_low, high=self.clip_high, cap=self.cap)
        return surrogate_loss(scores, batch, credit, surrogate)
