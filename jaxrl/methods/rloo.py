"""REINFORCE with a leave-one-out baseline."""

import dataclasses

from jaxrl.advantages.groups import leave_one_out
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import group_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_sum


@dataclasses.dataclass(frozen=True)
class Rloo:
    """RLOO: the others of the group are the baseline (Ahmadian et al., 2024).

    The whole response is one action, so the log-probabilities of its tokens add up.
    Reference: Back to Basics, arXiv:2402.14740. Differs from the paper: tokens have a
    clipped ratio, which is 1 and makes no difference at the first update of a batch.

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Compare with the others of the group; average sums of sequences."""
        return group_credit(
            batch, sequence_sum(batch.mask, batch.sequence), compare=leave_one_out
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
