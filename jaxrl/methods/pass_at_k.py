"""Training for the best of k samples."""

import dataclasses

from jaxrl.advantages.baselines import pass_at_k
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import sequence_credit
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class PassAtK:
    """Pass@k training, analytic form (Chen et al., 2025, arXiv:2508.10751).

    Attributes:
      k: Samples of which one must be solved; a group needs at least k.
      solved_above: A sample is solved if its reward is above this.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    k: int = 4
    solved_above: float = 0.5
    clip_low: float = 0.2
    clip_high: float = 0.28

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Credit for the best of k, over all subsets; weigh tokens alike."""
        solved = batch.rewards.sum(-1) > self.solved_above
        advantages = pass_at_k(
            solved, batch.group, num_groups=len(batch.group), k=self.k
        )
        return sequence_credit(batch, advantages, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
