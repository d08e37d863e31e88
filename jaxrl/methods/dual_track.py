"""Dual-track GRPO."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import reward_channels, sequence_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.methods.tracks import channel_track, compared, named, routed, second_of
from jaxrl.surrogates.clipping import clipped
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import restricted, sequence_mean


@dataclasses.dataclass(frozen=True)
class DualTrackGrpo:
    """Dual-Track GRPO: two rewards, two losses (TRUST-SQL, 2026, arXiv:2603.16448).

    Reward channel 0 (the answer) credits all tokens, channel 1 (the schema) those with
    `batch.channel == 1`: everything up to the end of the last proposal. Each track
    averages over its own tokens. Variants of the release with one loss are `AddedTrack`
    and `MagnifiedTrack`.

    Attributes:
      second_weight: Weight of the second track's loss; lambda.
      limit: Largest advantage; from the release.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    second_weight: float = 0.25
    limit: float = 10.0
    clip_low: float = 0.2
    clip_high: float = 0.28

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise both rewards within groups; weigh sequences alike in each track."""
        answer, schema = (
            compared(batch, x, limit=self.limit)
            for x in reward_channels(batch, "answer", "schema")
        )
        weights = sequence_mean(batch.mask, batch.sequence)
        shares = restricted(weights, routed(batch, 1), batch.sequence)
        second = channel_track(batch, 1, schema, self.second_weight * shares)
        first = sequence_credit(batch, answer, weights)
        return dataclasses.replace(first, second=second)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient of both tracks, with the same ratios."""
        surrogate = partial(clipped, low=self.clip_low, high=self.clip_high)
        answer = surrogate_loss(scores, batch, credit, surrogate)
        schema = surrogate_loss(scores, batch, second_of(credit), surrogate)
        return answer + named(schema, "second_")
