"""Soft adaptive policy optimization."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.gates import sapo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean


@dataclasses.dataclass(frozen=True)
class Sapo:
    """SAPO: a sigmoid gate on both sides (Gao et al., 2025, arXiv:2511.20347).

    Attributes:
      positive_temperature: Steepness for good tokens; larger is narrower.
      negative_temperature: Steepness for bad tokens.
    """

    positive_temperature: float = 1.0
    negative_temperature: float = 1.05

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh sequences alike."""
        return group_credit(batch, sequence_mean(batch.mask, batch.sequence))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Gated policy gradient."""
        surrogate = partial(
            sapo,
            positive_temperature=self.positive_temperature,
            negative_temperature=self.negative_temperature,
        )
        return surrogate_loss(scores, batch, credit, surrogate)
