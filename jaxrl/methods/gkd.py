"""Generalised knowledge distillation."""

import dataclasses

from jaxrl.divergences.top_k import jensen_shannon, with_tail
from jaxrl.losses.distillation import Closure, Divergence
from jaxrl.methods.credit import no_credit
from jaxrl.methods.imitation import imitation_loss
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Gkd:
    """GKD: a divergence between next-token distributions (Agarwal et al., 2024).

    Whose tokens they are is a choice of the data: the student's own (on-policy, the
    paper's lambda 1), a corpus or the teacher's. No gradient goes through sampling.
    Reference: arXiv:2306.13649.

    Differs from the paper: of the vocabulary it sees the teacher's `top_k` tokens and,
    with `with_tail`, the rest as one. With `top_k` the whole vocabulary it is exact.

    Attributes:
      top_k: Tokens to compare on.
      student_top: They are the student's likeliest, as in OPCD (arXiv:2602.12275), and
        not the teacher's.
      divergence: `jensen_shannon` with the paper's beta, `forward_kl`, `reverse_kl`.
      closure: What becomes of the mass outside of the top k.
    """

    top_k: int = 32
    student_top: bool = False
    divergence: Divergence = jensen_shannon
    closure: Closure = with_tail

    @property
    def needs(self) -> Needs:
        """What the teacher says of the likeliest tokens."""
        return Needs(top_k=self.top_k, student_top=self.student_top)

    def credit(self, batch: Batch) -> Credit:
        """No credit; weigh tokens alike."""
        return no_credit(token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Divergence from the teacher."""
        return imitation_loss(
            scores,
            batch,
            credit.weights,
            divergence=self.divergence,
            closure=self.closure,
        )
