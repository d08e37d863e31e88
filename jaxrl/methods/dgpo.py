"""Decoupled gradient policy optimization."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.decay import dgpo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Dgpo:
    """DGPO: decay the weight on the gradient of pi (2026, arXiv:2603.14389).

    No KL, no dual clip. Differs from the release, whose token mean is that of a
    micro-batch; here it is that of the batch.

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      left_order: Order of the decay below the lower bound; n. 2 for small models.
      right_order: Order of the root above the upper bound; m.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    left_order: int = 1
    right_order: int = 2

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient with decaying slopes."""
        surrogate = partial(
            dgpo,
            low=self.clip_low,
            high=self.clip_high,
            left_order=self.left_order,
            right_order=self.right_order,
        )
        return surrogate_loss(scores, batch, credit, surrogate)
