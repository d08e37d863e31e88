"""Supervised fine-tuning."""

import dataclasses

import jax.numpy as jnp

from jaxrl.losses.supervised import nll
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Sft:
    """Likelihood of given responses: the tokens of the mask are the demonstration."""

    @property
    def needs(self) -> Needs:
        """What the scoring steps compute for it."""
        return Needs()

    def credit(self, batch: Batch) -> Credit:
        """No credit; weigh tokens alike."""
        weights = token_mean(batch.mask)
        return Credit(jnp.zeros_like(weights), weights)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Negative log-likelihood."""
        del batch
        return nll(scores.logp, credit.weights)
