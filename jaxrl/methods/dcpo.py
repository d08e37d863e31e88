"""Dynamic clipping policy optimization."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.bounds import dcpo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Dcpo:
    """DCPO: wider bounds for rare tokens (Yang et al., 2025, arXiv:2509.02333).

    Differs from the paper: advantages are GRPO's. Those that remember earlier steps are
    `jaxrl.advantages.history`; they need a store of rewards per prompt.

    Attributes:
      clip_low: Width of the lower side, in probability; epsilon_low.
      clip_high: Width of the upper side, in probability; epsilon_high.
      widest: Largest upper bound, a ratio.
      cap: Largest ratio of a token with negative advantage.
    """

    clip_low: float = 0.16
    clip_high: float = 0.2
    widest: float = 10.0
    cap: float = 10.0

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient, clipped by bounds of each token."""
        surrogate = partial(
            dcpo,
            low=self.clip_low,
            high=self.clip_high,
            widest=self.widest,
            cap=self.cap,
        )
        return surrogate_loss(scores, batch, credit, surrogate)
