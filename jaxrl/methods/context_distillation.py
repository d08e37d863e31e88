"""Putting what a context says into the weights."""

import dataclasses

from jaxrl.advantages.teacher import teacher_log_ratio
from jaxrl.divergences.top_k import forward_kl
from jaxrl.losses.distillation import Divergence
from jaxrl.losses.policy import SurrogateFunction
from jaxrl.methods.credit import no_credit
from jaxrl.methods.evidence import required
from jaxrl.methods.imitation import imitation_loss
from jaxrl.methods.surrogate import surrogate_loss
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

    needs = Needs(other_context=True)

    def credit(self, batch: Batch) -> Credit:
        """The log-ratio of both contexts; weigh tokens alike."""
        other_logp = required(batch.evidence.other_logp, "evidence.other_logp")
        advantages = teacher_log_ratio(batch.old_logp, other_logp, batch.mask)
        return Credit(advantages, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient."""
        return surrogate_loss(scores, batch, credit, self.surrogate)


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
        return no_credit(token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Divergence from the distribution with the context."""
        return imitation_loss(scores, batch, credit.weights, divergence=self.divergence)
