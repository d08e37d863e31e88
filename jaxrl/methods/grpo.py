"""Group-relative policy optimization."""

import dataclasses

from jaxrl.advantages.groups import group_normalised
from jaxrl.divergences.samples import k3
from jaxrl.losses.penalty import Estimator
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import group_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean


@dataclasses.dataclass(frozen=True)
class Grpo:
    """GRPO: rewards normalised within a group (Shao et al., 2024, arXiv:2402.03300).

    Differs from the paper: no KL term by default, as is common today; `kl_coef=0.04` is
    the paper's.

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      kl_coef: Coefficient of the KL penalty; 0 needs no reference.
      kl_estimator: Which estimate of the KL; k3 is the paper's.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.0
    kl_estimator: Estimator = k3

    @property
    def needs(self) -> Needs:
        """Groups, and a reference if there is a KL penalty."""
        return Needs(groups=True, reference=self.kl_coef != 0)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh sequences alike."""
        weights = sequence_mean(batch.mask, batch.sequence)
        return group_credit(batch, weights, compare=group_normalised)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient plus the KL penalty."""
        return clipped_loss(
            scores,
            batch,
            credit,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl_coef=self.kl_coef,
            kl_estimator=self.kl_estimator,
        )
