"""Decoupled clip and dynamic sampling policy optimization."""

import dataclasses
from functools import partial

from jaxrl.advantages.groups import group_normalised, spread
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import clipped
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Dapo:
    """DAPO: clip-higher, token mean, no KL (Yu et al., 2025, arXiv:2503.14476).

    Differs from `Grpo` only in the upper clip and in the weights. Dynamic sampling and
    overlong shaping are choices of the rollouts: `jaxrl.rollout.filtering` and
    `jaxrl.rollout.shaping`.

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    clip_low: float = 0.2
    clip_high: float = 0.28

    @property
    def needs(self) -> Needs:
        """What the scoring steps compute for it."""
        return Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        advantages = group_normalised(
            batch.rewards.sum(-1), batch.group, num_groups=len(batch.group)
        )
        return Credit(
            spread(advantages, batch.sequence, batch.mask), token_mean(batch.mask)
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
