"""Learning from a teacher's answers."""

import dataclasses

import jax.numpy as jnp

from jaxrl.advantages.groups import spread
from jaxrl.losses.supervised import nll
from jaxrl.methods.credit import no_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class SeqKd:
    """Sequence-level KD: likelihood of what the teacher sampled.

    Without a threshold it is `Sft` on the teacher's answers; with one, only verified
    answers are kept (rejection sampling). Its expected gradient on unfiltered answers
    is that of KL(teacher || student). Reference: Kim and Rush, 2016, Sequence-Level
    Knowledge Distillation, arXiv:1606.07947.

    Attributes:
      threshold: Keep answers with a reward above it; None keeps all.
    """

    threshold: float | None = None

    needs = Needs()

    def credit(self, batch: Batch) -> Credit:
        """No credit; weigh the tokens of kept answers alike."""
        kept = batch.mask
        if self.threshold is not None:
            good = jnp.asarray(batch.rewards.sum(-1) > self.threshold, float)
            kept = spread(good, batch.sequence, batch.mask) > 0
        return no_credit(token_mean(kept))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Negative log-likelihood."""
        del batch
        return nll(scores.logp, credit.weights)
