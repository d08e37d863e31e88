"""Policy optimization that keeps entropy by dropping tokens of high covariance."""

import dataclasses

import jax.numpy as jnp

from jaxrl.advantages.selection import largest, quota, token_covariance
from jaxrl.methods.clipped import clipped_loss
from jaxrl.methods.credit import group_credit
from jaxrl.surrogates.correction import within
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class ClipCov:
    """Clip-Cov: don't train a few tokens of high covariance (Cui et al., 2025).

    Reference: equation 10, arXiv:2505.22617. Differs from the release: the tokens with
    the largest covariance within the bounds are dropped, not random ones, and it is
    that of the old policy, which is the trained one at the first update of a batch.

    Attributes:
      share: Share of the tokens that may be dropped, at least one token.
      cov_low: Covariance above which a token may be dropped.
      cov_high: Covariance below which a token may be dropped.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
    """

    share: float = 2e-4
    cov_low: float = 1.0
    cov_high: float = 5.0
    clip_low: float = 0.2
    clip_high: float = 0.2

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; weigh tokens alike, some not at all."""
        credit = group_credit(batch, token_mean(batch.mask))
        covariance = token_covariance(credit.advantages, batch.old_logp, batch.mask)
        eligible = batch.mask & within(covariance, low=self.cov_low, high=self.cov_high)
        dropped = largest(covariance, eligible, quota(batch.mask, self.share))
        return dataclasses.replace(
            credit, weights=jnp.where(dropped, 0.0, credit.weights)
        )

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient."""
        return clipped_loss(
            scores, batch, credit, clip_low=self.clip_low, clip_high=self.clip_high
        )
