"""REINFORCE with a leave-one-out baseline."""

import dataclasses
from functools import partial

from jaxrl.advantages.groups import leave_one_out, spread
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import clipped
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

    @property
    def needs(self) -> Needs:
        """What the scoring steps compute for it."""
        return Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Compare with the others of the group; average sums of sequences."""
        advantages = leave_one_out(
            batch.rewards.sum(-1), batch.group, num_groups=len(batch.group)
        )
        return Credit(
            spread(advantages, batch.sequence, batch.mask),
            sequence_sum(batch.mask, batch.sequence),
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return policy_gradient(
            scores.logp,
            batch.old_logp,
            credit.advantages,
            credit.weights,
            surrogate=partial(clipped, low=self.clip_low, high=self.clip_high),
        )
