"""Direct preference optimization and its relatives."""

import dataclasses
from collections.abc import Callable

from jaxrl.losses.preference import PairLoss, SequenceScore, logistic, summed
from jaxrl.losses.preference_variants import reverse_kl_link
from jaxrl.methods.pairs import PairScores, pair_credit, pair_preference
from jaxrl.types import Array, Credit, Loss, Needs, Pairs


@dataclasses.dataclass(frozen=True)
class Dpo:
    """DPO: the chosen answer above the rejected one (Rafailov et al., 2023).

    Reference: arXiv:2305.18290, equation 7. IPO is `Dpo(pair_loss=ipo)`, SLiC's hinge
    `Dpo(pair_loss=hinge)`, another beta `Dpo(pair_loss=partial(logistic, beta=0.3))`.

    Attributes:
      pair_loss: From `losses.preference` or `losses.preference_variants`.
      score: Log-probability of an answer: `summed`, `averaged`, `length_desensitised`.
      link: Transform of log-ratios, for f-DPO.
    """

    pair_loss: PairLoss = logistic
    score: SequenceScore = summed
    link: Callable[[Array], Array] = reverse_kl_link

    needs = Needs(reference=True, pairs=True)

    def credit(self, pairs: Pairs) -> Credit:
        """Weigh pairs alike."""
        return pair_credit(pairs)

    def loss(self, scores: PairScores, pairs: Pairs, credit: Credit) -> Loss:
        """The pair loss of both sides' log-ratios."""
        return pair_preference(
            scores,
            pairs,
            credit,
            score=self.score,
            pair_loss=lambda c, j: self.pair_loss(self.link(c), self.link(j)),
        )
