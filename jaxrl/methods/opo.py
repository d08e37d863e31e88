"""On-policy RL with the optimal reward baseline."""

import dataclasses

from jaxrl.advantages.baselines import length_weighted_centred
from jaxrl.advantages.groups import lengths, spread
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import importance
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_sum


@dataclasses.dataclass(frozen=True)
class Opo:
    """OPO: a length-weighted baseline, no clip (Hao et al., 2025, arXiv:2505.23585).

    Meant for one update per batch, where the ratio is 1. The whole response is one
    action, so the log-probabilities of its tokens add up.
    """

    @property
    def needs(self) -> Needs:
        """What the scoring steps compute for it."""
        return Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Compare with the length-weighted mean; average sums of sequences."""
        number = len(batch.group)
        advantages = length_weighted_centred(
            batch.rewards.sum(-1),
            lengths(batch.sequence, batch.mask, num_sequences=number),
            batch.group,
            num_groups=number,
        )
        return Credit(
            spread(advantages, batch.sequence, batch.mask),
            sequence_sum(batch.mask, batch.sequence),
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient with the plain ratio."""
        return policy_gradient(
            scores.logp,
            batch.old_logp,
            credit.advantages,
            credit.weights,
            surrogate=importance,
        )
