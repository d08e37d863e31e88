"""Tapered off-policy REINFORCE."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.sequence import topr
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_sum


@dataclasses.dataclass(frozen=True)
class Topr:
    """TOPR: good sequences as they are, bad ones tapered (Le Roux et al., 2025).

    Reference: arXiv:2503.14286. Differs from the paper: rewards are normalised within
    groups.
    """

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; average sums of sequences."""
        return group_credit(batch, sequence_sum(batch.mask, batch.sequence))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Tapered policy gradient."""
        surrogate = partial(topr, sequence=batch.sequence)
        return surrogate_loss(scores, batch, credit, surrogate)
