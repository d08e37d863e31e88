"""Dual-horizon credit assignment."""

import dataclasses

from jaxrl.advantages.turns import Pooling, by_group, hian, reached, spread_turns
from jaxrl.advantages.zscore import Normaliser, zscore
from jaxrl.methods.clipped import clipped_loss
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean


@dataclasses.dataclass(frozen=True)
class Duca:
    """DuCA: sessions and turns normalised apart, then added (2026, arXiv:2603.01481).

    Reward channel 0 is the session's, channel 1 + k that of turn k, see
    `rollout.turns.turns_as_channels`. Reconstruction: the paper normalises separately
    (HIAN) and adds; pools and all numbers are ours.

    Attributes:
      session_weight: Weight of the session's credit; alpha.
      turn_weight: Weight of the turn's credit; beta.
      pool: Which turns are compared.
      normalise: `zscore`, or `centre_then_scale`.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      kl_coef: Coefficient of the KL penalty; 0 needs no reference.
    """

    session_weight: float = 1.0
    turn_weight: float = 1.0
    pool: Pooling = by_group
    normalise: Normaliser = zscore
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coef: float = 0.01

    @property
    def needs(self) -> Needs:
        """Groups, and a reference if there is a KL penalty."""
        return Needs(groups=True, reference=self.kl_coef != 0)

    def credit(self, batch: Batch) -> Credit:
        """Add session and turn credit; weigh sequences alike."""
        turn_rewards = batch.rewards[:, 1:]
        valid = reached(
            batch.sequence,
            batch.turn,
            batch.mask,
            num_sequences=len(batch.group),
            num_turns=turn_rewards.shape[1],
        )
        advantages = hian(
            batch.rewards[:, 0],
            turn_rewards,
            valid,
            batch.group,
            session_weight=self.session_weight,
            turn_weight=self.turn_weight,
            pool=self.pool,
            normalise=self.normalise,
        )
        return Credit(
            spread_turns(advantages, batch.sequence, batch.turn, batch.mask),
            sequence_mean(batch.mask, batch.sequence),
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient plus the KL penalty."""
        return clipped_loss(
            scores,
            batch,
            credit,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl_coef=self.kl_coef,
        )
