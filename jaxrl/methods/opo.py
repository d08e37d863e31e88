"""On-policy RL with the optimal reward baseline."""

import dataclasses

from jaxrl.advantages.baselines import length_weighted_centred
from jaxrl.advantages.groups import lengths
from jaxrl.methods.credit import sequence_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.clipping import importance
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_sum


@dataclasses.dataclass(frozen=True)
class Opo:
    """OPO: a length-weighted baseline, no clip (Hao et al., 2025, arXiv:2505.23585).

    Meant for one update per batch, where the ratio is 1. The whole response is one
    action, so the log-probabilities of its tokens add up.
    """

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Compare with the length-weighted mean; average sums of sequences."""
        number = len(batch.group)
        advantages = length_weighted_centred(
            batch.rewards.sum(-1),
            lengths(batch.sequence, batch.mask, num_sequences=number),
            batch.group,
            num_groups=number,
        )
        return sequence_credit(
            batch, advantages, sequence_sum(batch.mask, batch.sequence)
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient with the plain ratio."""
        return surrogate_loss(scores, batch, credit, importance)
