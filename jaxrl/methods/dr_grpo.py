"""Group-relative policy optimization without its two biases."""

import dataclasses
from functools import partial

from jaxrl.advantages.groups import group_centred, spread
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import clipped
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import constant_length


@dataclasses.dataclass(frozen=True)
class DrGrpo:
    """Dr. GRPO: no deviation, no length (Liu et al., 2025, arXiv:2503.20783).

    Differs from `Grpo` in that rewards are only centred, and sums over tokens are
    divided by a constant.

    Attributes:
      length: The constant, in tokens: the longest response that is sampled.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    length: int
    clip_low: float = 0.2
    clip_high: float = 0.2

    @property
    def needs(self) -> Needs:
        """What the scoring steps compute for it."""
        return Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Centre rewards within groups; weigh tokens alike, by a constant."""
        advantages = group_centred(
            batch.rewards.sum(-1), batch.group, num_groups=len(batch.group)
        )
        return Credit(
            spread(advantages, batch.sequence, batch.mask),
            constant_length(batch.mask, batch.sequence, length=self.length),
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return policy_gradient(
            scores.logp,
            batch.old_logp,
            credit.advantages,
            credit.weights,
            surrogate=partial(clipped, low=self.clip_low, high=self.clip_high),
        )
