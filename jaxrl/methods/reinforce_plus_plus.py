"""REINFORCE with rewards per token and global whitening."""

import dataclasses

from jaxrl.advantages.returns import at_end, discounted_returns, less_kl
from jaxrl.advantages.whitening import whiten
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.evidence import required
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class ReinforcePlusPlus:
    """REINFORCE++: no groups, no critic (Hu et al., 2025, arXiv:2501.03262).

    The reward of a sequence stands on its last token, the price of the KL on each;
    returns are whitened over all tokens of the batch. Differs from the verl release:
    a hole in the mask doesn't cut the return.

    Attributes:
      kl_coef: Price of a nat of KL to the reference, in reward; 0 needs no reference.
      discount: Factor per token; gamma.
      ddof: 1 whitens by the unbiased variance (verl), 0 by that of the population
        (OpenRLHF).
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    kl_coef: float = 0.0
    discount: float = 1.0
    ddof: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.2

    @property
    def needs(self) -> Needs:
        """A reference if the KL has a price."""
        return Needs(reference=self.kl_coef != 0)

    def credit(self, batch: Batch) -> Credit:
        """Whiten the returns of tokens; weigh tokens alike."""
        rewards = at_end(batch.rewards.sum(-1), batch.sequence, batch.mask)
        if self.kl_coef != 0:
            ref_logp = required(batch.evidence.ref_logp, "evidence.ref_logp")
            rewards = less_kl(
                rewards, batch.old_logp, ref_logp, batch.mask, coef=self.kl_coef
            )
        returns = discounted_returns(
            rewards, batch.sequence, batch.mask, discount=self.discount
        )
        return Credit(
            whiten(returns, batch.mask, ddof=self.ddof), token_mean(batch.mask)
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
