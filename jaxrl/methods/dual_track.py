"""Dual-track GRPO."""

import dataclasses
from functools import partial

import jax.numpy as jnp

from jaxrl.advantages.channels import track
from jaxrl.advantages.groups import spread
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.evidence import required
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import restricted, sequence_mean


@dataclasses.dataclass(frozen=True)
class DualTrackGrpo:
    """Dual-Track GRPO: two rewards, two losses (TRUST-SQL, 2026, arXiv:2603.16448).

    Reward channel 0 (the answer) credits all tokens, channel 1 (the schema) those with
    `batch.channel == 1`: everything up to the end of the last proposal. Each track
    averages over its own tokens. The variants of the release that add or multiply
    credit are `advantages.channels.added` and `magnified`.

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
        number = len(batch.group)
        everyone = jnp.ones_like(batch.group, bool)
        answer, schema = (
            spread(
                track(x, everyone, batch.group, num_groups=number, limit=self.limit),
                batch.sequence,
                batch.mask,
            )
            for x in (batch.rewards[:, 0], batch.rewards[:, 1])
        )
        weights = sequence_mean(batch.mask, batch.sequence)
        routed = batch.mask & (batch.channel == 1)
        schema_weights = self.second_weight * restricted(
            weights, routed, batch.sequence
        )
        schema = jnp.where(routed, schema, 0.0)
        return Credit(answer, weights, second=Credit(schema, schema_weights))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient of both tracks, with the same ratios."""
        loss_of = partial(
            clipped_loss,
            scores,
            batch,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
        )
        answer = loss_of(credit)
        schema = loss_of(required(credit.second, "credit.second"))
        metrics = {f"second_{name}": mean for name, mean in schema.metrics.items()}
        return answer + Loss(schema.value, metrics)
