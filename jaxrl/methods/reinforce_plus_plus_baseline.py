"""REINFORCE++ with the mean of the group as baseline."""

import dataclasses

from jaxrl.advantages.groups import group_centred
from jaxrl.advantages.whitening import whiten
from jaxrl.divergences.samples import k2
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import group_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class ReinforcePlusPlusBaseline:
    """REINFORCE++-baseline: centre by group, whiten over the batch.

    Reference: Hu et al., 2025, REINFORCE++, arXiv:2501.03262.

    Attributes:
      kl_coef: Coefficient of the KL penalty (k2); 0 needs no reference.
      ddof: 1 whitens by the unbiased variance (verl), 0 by that of the population
        (OpenRLHF).
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    kl_coef: float = 0.0
    ddof: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.2

    @property
    def needs(self) -> Needs:
        """Groups, and a reference if there is a KL penalty."""
        return Needs(groups=True, reference=self.kl_coef != 0)

    def credit(self, batch: Batch) -> Credit:
        """Centre rewards within groups, whiten over all tokens; weigh tokens alike."""
        credit = group_credit(batch, token_mean(batch.mask), compare=group_centred)
        whitened = whiten(credit.advantages, batch.mask, ddof=self.ddof)
        return dataclasses.replace(credit, advantages=whitened)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient plus the KL penalty."""
        return clipped_loss(
            scores,
            batch,
            credit,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl_coef=self.kl_coef,
            kl_estimator=k2,
        )
