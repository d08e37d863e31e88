"""One policy that selects, uses and distils skills."""

import dataclasses
from functools import partial

import jax.numpy as jnp

from jaxrl.advantages.groups import spread
from jaxrl.advantages.steps import trajectory_zscore
from jaxrl.losses.supervised import nll
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.evidence import required
from jaxrl.types import Array, Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import trajectories, trajectory_mean

USE, RANK, DISTIL = 0, 1, 2
"""Values of `batch.channel`, and the reward channels that credit these tokens."""


@dataclasses.dataclass(frozen=True)
class Skill1:
    """Skill1: one outcome credits three decisions (2026, arXiv:2605.06130).

    Reward channels are `advantages.skills.skill_rewards`: channel 0 credits queries and
    actions, 1 the ranking of candidates, 2 the new skill. The first and last are
    normalised within the task; rankings have different candidates, so their reward is
    used as it is, without ratio or baseline. Every call of the policy is a sequence.

    Attributes:
      rank_weight: Weight of the ranking's term; lambda_1.
      distil_weight: Weight of the new skill's term; lambda_2.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      kl_coef: Coefficient of the KL penalty on queries and actions.
    """

    rank_weight: float = 0.3
    distil_weight: float = 0.3
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.01

    @property
    def needs(self) -> Needs:
        """Groups, and a reference if there is a KL penalty."""
        return Needs(groups=True, reference=self.kl_coef != 0)

    def credit(self, batch: Batch) -> Credit:
        """Normalise use and distillation; rankings are the second track."""
        path = required(required(batch.steps, "batch.steps").trajectory, "trajectory")
        tokens = [batch.mask & (batch.channel == k) for k in (USE, RANK, DISTIL)]
        used, distilled = (
            spread(
                trajectory_zscore(batch.rewards[:, k], batch.group, path),
                batch.sequence,
                tokens[k],
            )
            for k in (USE, DISTIL)
        )
        use, distil = (
            trajectory_mean(tokens[k], batch.sequence, path) for k in (USE, DISTIL)
        )
        ranking = spread(batch.rewards[:, RANK], batch.sequence, tokens[RANK])
        share = self.rank_weight / jnp.maximum(
            trajectories(batch.mask, batch.sequence, path), 1.0
        )
        rank = jnp.where(tokens[RANK], share, 0.0)
        weights = use + self.distil_weight * distil
        return Credit(used + distilled, weights, second=Credit(ranking, rank))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient, KL penalty, and weighted likelihood of rankings."""
        rank = required(credit.second, "credit.second")
        loss_of = partial(
            clipped_loss,
            scores,
            batch,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
        )
        use = loss_of(self._on(USE, batch, credit), kl_coef=self.kl_coef)
        distil = loss_of(self._on(DISTIL, batch, credit))
        ranking = nll(scores.logp, rank.weights * rank.advantages)
        rank_nll = {"rank_nll": ranking.metrics["nll"]}
        return use + distil + Loss(ranking.value, rank_nll)

    def _on(self, channel: int, batch: Batch, credit: Credit) -> Credit:
        """The credit, trained on the tokens of one channel only."""
        own: Array = batch.channel == channel
        return dataclasses.replace(
            credit, weights=jnp.where(own, credit.weights, 0.0), second=None
        )
