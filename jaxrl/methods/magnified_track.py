"""GRPO whose credit a second reward magnifies."""

import dataclasses

from jaxrl.advantages.channels import magnified
from jaxrl.advantages.groups import spread
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import reward_channels, sequence_credit
from jaxrl.methods.tracks import compared, routed
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean


@dataclasses.dataclass(frozen=True)
class MagnifiedTrack:
    """Two rewards, one advantage (default of TRUST-SQL's release, arXiv:2603.16448).

    Reward channel 0 (the answer) credits all tokens; channel 1 (the schema), as it is,
    magnifies that on those with `batch.channel == 1`. Differs from the paper's
    `DualTrackGrpo`: where schemas of wrong answers are paid too, a good one makes
    their punishment harder.

    Attributes:
      second_weight: Weight of the second reward; lambda.
      limit: Largest advantage, before it is magnified; from the release.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    second_weight: float = 0.25
    limit: float = 10.0
    clip_low: float = 0.2
    clip_high: float = 0.28

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise the answer's reward within groups; weigh sequences alike."""
        answer, schema = reward_channels(batch, "answer", "schema")
        advantages = compared(batch, answer, limit=self.limit)
        weights = sequence_mean(batch.mask, batch.sequence)
        first, tokens = sequence_credit(batch, advantages, weights), routed(batch, 1)
        rewards = spread(schema, batch.sequence, tokens)
        more = magnified(first.advantages, rewards, tokens, weight=self.second_weight)
        return dataclasses.replace(first, advantages=more)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
