"""Mass-adaptive soft policy optimization."""

import dataclasses
from functools import partial

from jaxrl.methods.credit import group_credit
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.gates import maspo
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class Maspo:
    """MASPO: a Gaussian gate, wide for rare tokens (2026, arXiv:2602.17550).

    No KL, no clip. Advantages have unit scale, as the gains assume.

    Attributes:
      width: Width of the gate for a certain token; sigma_base.
      mass_power: How fast rare tokens get wider gates; alpha. 0.5 for small models.
      widest: Largest width before the advantage counts; sigma_high.
      positive_gain: Effect of positive advantages on the width; beta_pos.
      negative_gain: Effect of negative advantages on the width; beta_neg.
    """

    width: float = 1.0
    mass_power: float = 0.3
    widest: float = 10.0
    positive_gain: float = 0.03
    negative_gain: float = 0.03

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike."""
        return group_credit(batch, token_mean(batch.mask))

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Gated policy gradient."""
        surrogate = partial(
            maspo,
            width=self.width,
            mass_power=self.mass_power,
            widest=self.widest,
            positive_gain=self.positive_gain,
            negative_gain=self.negative_gain,
        )
        return surrogate_loss(scores, batch, credit, surrogate)
