"""Putting what a context says into the weights."""

import dataclasses

import jax.numpy as jnp

from jaxrl.advantages.teacher import teacher_log_ratio
from jaxrl.divergences.top_k import forward_kl
from jaxrl.losses.distillation import Divergence, divergence_loss
from jaxrl.losses.policy import SurrogateFunction, policy_gradient
from jaxrl.methods.evidence import required
from jaxrl.surrogates.clipping import dual_clipped
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class ContextDistillation:
    """On-policy: the teacher is the model that also sees a context.

    The student samples without the context; `evidence.other_logp` scores the same
    tokens with it. On average the gradient is that of KL(student || teacher with
    context). Reference: on-policy context distillation (OPCD), arXiv:2602.12275, in the
    sampled-token form of the G-OPD release; the paper sums over the student's top k,
    which is `Gkd(student_top=True, divergence=reverse_kl)` where the teacher sees
    `Rollouts.other_context`.

    Attributes:
      surrogate: How far old data is trusted.
    """

    surrogate: SurrogateFunction = dual_clipped

    @property
    def needs(self) -> Needs:
        """What the scoring steps compute for it."""
        return Needs(other_context=True)

    def credit(self, batch: Batch) -> Credit:
        """The log-ratio of both contexts; weigh tokens alike."""
        other_logp = required(batch.evidence.other_logp, "evidence.other_logp")
        advantages = teacher_log_ratio(batch.old_logp, other_logp, batch.mask)
        return Credit(advantages, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient."""
        return policy_gradient(
            scores.logp,
            batch.old_logp,
            credit.advantages,
            credit.weights,
            surrogate=self.surrogate,
        )


@dataclasses.dataclass(frozen=True)
class OffPolicyContextDistillation:
    """Off-policy: forward KL on answers that the model gave with the context.

    `evidence.teacher_top` holds the distribution with the context, at the same tokens.
    On unfiltered answers the likelihood of the tokens (`SeqKd`) has the same gradient
    on average, with more noise. Reference: "Rethinking Continual Experience
    Internalization", arXiv:2606.04703; the estimator is a reconstruction, since no
    training code was released.

    Attributes:
      top_k: Tokens of the teacher to imitate.
      divergence: From `jaxrl.divergences.top_k`.
    """

    top_k: int = 32
    divergence: Divergence = forward_kl

    @property
    def needs(self) -> Needs:
        """The likeliest tokens given the context."""
        return Needs(top_k=self.top_k)

    def credit(self, batch: Batch) -> Credit:
        """No credit; weigh tokens alike."""
        weights = token_mean(batch.mask)
        return Credit(jnp.zeros_like(weights), weights)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Divergence from the distribution with the context."""
        return divergence_loss(
            required(scores.top_logp, "scores.top_logp"),
            required(batch.evidence.teacher_top, "evidence.teacher_top"),
            credit.weights,
            divergence=self.divergence,
        )
