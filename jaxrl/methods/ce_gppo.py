"""Gradient-preserving policy optimization that coordinates entropy."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.decay import ce_gppo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class CeGppo:
    """CE-GPPO: a scaled gradient beyond the clip (Su et al., 2025, arXiv:2509.20712).

    Attributes:
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      left_scale: Factor below the lower bound; beta_1. 0.5 for small models.
      right_scale: Factor above the upper bound; beta_2.
      cap: Largest ratio of a token with negative advantage.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    left_scale: float = 0.75
    right_scale: float = 1.0
    cap: float = 10.0

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient whose slope is constant beyond the bounds."""
        surrogate = partial(
            ce_gppo,
            low=self.clip_low,
            high=self.clip_high,
            left_scale=self.left_scale,
            right_scale=self.right_scale,
            cap=self.cap,
        )
        return surrogate_loss(scores, batch, credit, surrogate)
