"""GRPO with a second track that is added to the credit of its tokens."""

import dataclasses

from jaxrl.advantages.channels import added
from jaxrl.advantages.groups import spread
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import reward_channels, sequence_credit
from jaxrl.methods.tracks import compared, routed
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean


@dataclasses.dataclass(frozen=True)
class AddedTrack:
    """Two rewards, one loss (a variant in the release of TRUST-SQL, arXiv:2603.16448).

    Reward channel 0 (the answer) credits all tokens, channel 1 (the schema) is added on
    those with `batch.channel == 1`. Differs from the paper's `DualTrackGrpo`: the
    schema has no average of its own, so it weighs less where it is a small part of a
    sequence, and a ratio is clipped by the sign of the sum.

    Attributes:
      second_weight: Weight of the second track's advantage; w.
      limit: Largest advantage of a track; from the release.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    second_weight: float = 0.25
    limit: float = 10.0
    clip_low: float = 0.2
    clip_high: float = 0.28

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise both rewards within groups, add them; weigh sequences alike."""
        answer, schema = (
            compared(batch, x, limit=self.limit)
            for x in reward_channels(batch, "answer", "schema")
        )
        weights = sequence_mean(batch.mask, batch.sequence)
        first, tokens = sequence_credit(batch, answer, weights), routed(batch, 1)
        second = spread(schema, batch.sequence, tokens)
        both = added(first.advantages, second, tokens, weight=self.second_weight)
        return dataclasses.replace(first, advantages=both)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
