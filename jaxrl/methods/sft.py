"""Supervised fine-tuning."""

import dataclasses

from jaxrl.losses.supervised import nll
from jaxrl.methods.credit import no_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Sft:
    """Likelihood of given responses: the tokens of the mask are the demonstration."""

    needs = Needs()

    def credit(self, batch: Batch) -> Credit:
        """No credit; weigh tokens alike."""
        return no_credit(token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Negative log-likelihood."""
        del batch
        return nll(scores.logp, credit.weights)
