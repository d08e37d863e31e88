"""Hierarchical planning and information folding."""

import dataclasses

import jax.numpy as jnp

from jaxrl.advantages.zscore import zscore
from jaxrl.methods.clipped import clipped_with_kl
from jaxrl.methods.credit import sequence_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean


@dataclasses.dataclass(frozen=True)
class Hipif:
    """HIPIF: outcome plus the step's own penalties, over all steps (2026).

    Every step is a sequence; its reward channels add up to its score: the outcome of
    the episode, less the process penalties of the step (`rollout.types.Turn.penalty`).
    Reference: arXiv:2606.10507, known from notes. Reconstruction: the pool (all steps
    of the task), the deviation (dividing by n) and the sizes of penalties.

    Attributes:
      ddof: 1 divides the variance by n - 1, 0 by n.
      floor: Smallest deviation, in units of reward; where all outcomes are equal,
        penalties alone make it, and a floor of 0.05 bounds their credit.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      kl_coef: Coefficient of the KL penalty; 0 needs no reference.
    """

    ddof: int = 0
    floor: float = 0.0
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.01

    @property
    def needs(self) -> Needs:
        """Groups, and a reference if there is a KL penalty."""
        return Needs(groups=True, reference=self.kl_coef != 0)

    def credit(self, batch: Batch) -> Credit:
        """Normalise step scores within tasks; weigh steps alike."""
        advantages = zscore(
            batch.rewards.sum(-1),
            jnp.ones_like(batch.group, bool),
            batch.group,
            num_pools=len(batch.group),
            ddof=self.ddof,
            floor=self.floor,
        )
        return sequence_credit(
            batch, advantages, sequence_mean(batch.mask, batch.sequence)
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient plus the KL penalty."""
        return clipped_with_kl(self, scores, batch, credit)
