"""Self-internalizing reinforcement learning with intrinsic skills."""

import dataclasses

import jax.numpy as jnp

from jaxrl.advantages.groups import spread
from jaxrl.advantages.skills import clipped_credit, gated_weights, warm_up
from jaxrl.advantages.steps import step_advantages
from jaxrl.advantages.turns import spread_turns
from jaxrl.losses.supervised import nll
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.evidence import required
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean

PLAIN, ACTION = 0, 1
"""Values of `batch.channel`; others, such as a guided step's reasoning, are idle."""


@dataclasses.dataclass(frozen=True)
class Siri:
    """SIRI: imitate one's own actions under good skills (2026, arXiv:2606.02355).

    Steps without skills (`channel` 0) train with GiGPO. The actions (`channel` 1) of
    steps that had skills are given behind the prompt without them, and imitated where
    the skills helped the task and the step was good. Reward channel 0 is the outcome,
    channel 1 the task's `advantages.skills.utility_gap`; the two kinds are groups of
    their own. Known from notes. Reconstruction: clip range, denominator, warm-up.

    Attributes:
      step_weight: Weight of the step credit; omega.
      scaled: Divide credit by deviations.
      credit_limit: Largest credit of an imitated action; A_max.
      internalise: Weight of imitation after the warm-up; lambda_max.
      start: Updates after which imitation begins.
      warm_up: Updates until its weight is reached.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      kl_coef: Coefficient of the KL penalty; 0 needs no reference.
    """

    step_weight: float = 1.0
    scaled: bool = True
    credit_limit: float = 1.0
    internalise: float = 0.1
    start: int = 0
    warm_up: int = 10
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.01

    @property
    def needs(self) -> Needs:
        """Groups, and a reference if there is a KL penalty."""
        return Needs(groups=True, reference=self.kl_coef != 0)

    def credit(self, batch: Batch) -> Credit:
        """GiGPO on plain steps; gated actions are the second track."""
        advantages = spread_turns(
            step_advantages(
                batch.rewards[:, 0],
                required(batch.steps, "batch.steps"),
                batch.group,
                step_weight=self.step_weight,
                scaled=self.scaled,
            ),
            batch.sequence,
            batch.turn,
            batch.mask,
        )
        plain = batch.mask & (batch.channel == PLAIN)
        action = batch.mask & (batch.channel == ACTION)
        gate = spread(batch.rewards[:, 1], batch.sequence, action) > 0
        pull = warm_up(
            batch.version, start=self.start, length=self.warm_up, peak=self.internalise
        )
        imitated = clipped_credit(advantages, limit=self.credit_limit)
        imitated = jnp.where(gate, imitated, 0.0)
        scale = spread(pull, batch.sequence, gate)
        second = Credit(imitated, scale * gated_weights(gate))
        return Credit(
            jnp.where(plain, advantages, 0.0), token_mean(plain), second=second
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient, KL penalty, and weighted likelihood of actions."""
        second = required(credit.second, "credit.second")
        imitation = nll(scores.logp, second.weights * second.advantages)
        return clipped_loss(
            scores,
            batch,
            credit,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl_coef=self.kl_coef,
        ) + Loss(imitation.value, {"imitation_nll": imitation.metrics["nll"]})
