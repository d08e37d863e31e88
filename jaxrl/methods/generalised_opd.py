"""On-policy distillation that goes beyond the teacher."""

import dataclasses

from jaxrl.advantages.teacher import generalised_log_ratio
from jaxrl.losses.policy import SurrogateFunction
from jaxrl.methods.evidence import required
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.clipping import dual_clipped
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class GeneralisedOpd:
    """G-OPD, ExOPD where `extrapolation > 1`: the RUCBM/G-OPD release.

    What the teacher learned on top of the reference is followed further than the
    teacher went; with `extrapolation` 1 the reference cancels and this is `Opd`.
    The AOPD release's "ExOPD" only scales OPD's advantages; this one does not.

    Attributes:
      extrapolation: How far to follow the teacher; lambda.
      surrogate: How far old data is trusted.
    """

    extrapolation: float = 1.25
    surrogate: SurrogateFunction = dual_clipped

    needs = Needs(teacher=True, reference=True)

    def credit(self, batch: Batch) -> Credit:
        """Teacher against reference against student; weigh tokens alike."""
        advantages = generalised_log_ratio(
            batch.old_logp,
            required(batch.evidence.teacher_logp, "evidence.teacher_logp"),
            required(batch.evidence.ref_logp, "evidence.ref_logp"),
            batch.mask,
            extrapolation=self.extrapolation,
        )
        return Credit(advantages, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient."""
        return surrogate_loss(scores, batch, credit, self.surrogate)
