"""Asymmetric on-policy distillation."""

import dataclasses
import operator
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp

from jaxrl.advantages.teacher import overrated, teacher_log_ratio
from jaxrl.divergences.top_k import forward_kl
from jaxrl.losses.distillation import Divergence
from jaxrl.losses.policy import SurrogateFunction
from jaxrl.methods.evidence import required
from jaxrl.methods.imitation import imitation_loss
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.clipping import dual_clipped
from jaxrl.surrogates.reinforce import reinforce
from jaxrl.types import Array, Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import sequence_mean, token_mean


@dataclasses.dataclass(frozen=True)
class Aopd:
    """AOPD: policy gradient where the teacher agrees, imitation where it doesn't.

    A token that the student rates above the teacher by more than `threshold` follows
    the divergence to the teacher's likeliest tokens; the others follow the policy
    gradient of `Opd`. Both share one denominator, all trained tokens. Reference: AOPD,
    equations 1, 7, 9 and 10, arXiv:2605.06387.

    The defaults are the release's; `aopd_paper` makes the paper's. They differ in ties
    (the release leaves them to the policy gradient), in a factor 1 / K of equation 7,
    in the mean over sequences, and in the ratio, which the paper doesn't have.

    Attributes:
      threshold: Difference of probabilities beyond which to imitate; tau.
      exceeds: `operator.gt`, or `operator.ge` to imitate on ties.
      top_k: Tokens of the teacher to imitate; K.
      divergence: `forward_kl`, or `mixed_kl` with a share of the reverse KL.
      divergence_coef: Weight of the imitated tokens.
      surrogate: How far old data is trusted.
      average: Weights of tokens, `token_mean` or `sequence_mean`.
    """

    threshold: float = 0.0
    exceeds: Callable[[Array, float], Array] = operator.gt
    top_k: int = 32
    divergence: Divergence = forward_kl
    divergence_coef: float = 1.0
    surrogate: SurrogateFunction = dual_clipped
    average: Callable[[Array, Array], Array] = token_mean

    @property
    def needs(self) -> Needs:
        """The teacher's view of the sampled token, and of its own likeliest ones."""
        return Needs(teacher=True, top_k=self.top_k)

    def credit(self, batch: Batch) -> Credit:
        """The teacher's log-ratio, 0 where its distribution is imitated."""
        teacher_logp = required(batch.evidence.teacher_logp, "evidence.teacher_logp")
        ratio = teacher_log_ratio(batch.old_logp, teacher_logp, batch.mask)
        advantages = jnp.where(self._imitated(batch), 0.0, ratio)
        return Credit(advantages, self.average(batch.mask, batch.sequence))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient plus the divergence, each on its own tokens."""
        policy = surrogate_loss(scores, batch, credit, self.surrogate)
        imitation = imitation_loss(
            scores,
            batch,
            jnp.where(self._imitated(batch), credit.weights, 0.0),
            divergence=self.divergence,
        )
        return policy + self.divergence_coef * imitation

    def _imitated(self, batch: Batch) -> Array:
        """The gate; of constants of the rollout, so it is the same in every update."""
        return overrated(
            batch.old_logp,
            required(batch.evidence.teacher_logp, "evidence.teacher_logp"),
            batch.mask,
            threshold=self.threshold,
            exceeds=self.exceeds,
        )


aopd_paper = partial(
    Aopd,
    exceeds=operator.ge,
    divergence_coef=1 / 32,
    surrogate=reinforce,
    average=sequence_mean,
)
"""AOPD as the paper writes it; with another `top_k`, set `divergence_coef` to 1 / K."""
