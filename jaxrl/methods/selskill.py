"""Preference learning for "invoke a skill or skip it"."""

import dataclasses
from functools import partial

from jaxrl.losses.preference import averaged, logistic
from jaxrl.methods.pairs import PairScores, pair_credit, pair_preference
from jaxrl.types import Credit, Loss, Needs, Pairs


@dataclasses.dataclass(frozen=True)
class SelSkill:
    """SelSkill: DPO on mean log-probabilities (arXiv:2606.00510, as released).

    Whole episodes and single decisions share this loss; their masks differ. An episode
    pair trains all assistant tokens from where the two part, a decision pair those of
    `rollout.branches.branch_window`. Their balance is a matter of the data.

    Attributes:
      beta: Small values let the policy go far from the reference.
    """

    beta: float = 0.1

    needs = Needs(reference=True, pairs=True)

    def credit(self, pairs: Pairs) -> Credit:
        """Weigh pairs alike."""
        return pair_credit(pairs)

    def loss(self, scores: PairScores, pairs: Pairs, credit: Credit) -> Loss:
        """Logistic loss of length-normalised log-ratios."""
        return pair_preference(
            scores,
            pairs,
            credit,
            score=averaged,
            pair_loss=partial(logistic, beta=self.beta),
        )
