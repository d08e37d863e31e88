"""Policy optimization that keeps entropy by holding tokens of high covariance."""

import dataclasses

import jax.numpy as jnp

from jaxrl.advantages.selection import largest, quota, token_covariance
from jaxrl.divergences.samples import absolute
from jaxrl.losses.penalty import kl_penalty
from jaxrl.methods.credit import group_credit
from jaxrl.methods.evidence import required
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.clipping import importance
from jaxrl.types import Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class KlCov:
    """KL-Cov: hold a few tokens of high covariance to the old policy, no clip.

    Reference: Cui et al., 2025, equation 12, arXiv:2505.22617. Differs from the
    release: the covariance is that of the old policy, which is the trained one at the
    first update of a batch.

    Attributes:
      share: Share of the tokens that are held, at least one token.
      kl_coef: How strongly, per nat; 1 is the paper's, 0.1 verl's default.
    """

    share: float = 2e-4
    kl_coef: float = 1.0

    needs = Needs(groups=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise rewards within groups; the second track is what is held."""
        credit = group_credit(batch, token_mean(batch.mask))
        covariance = token_covariance(credit.advantages, batch.old_logp, batch.mask)
        held = largest(covariance, batch.mask, quota(batch.mask, self.share))
        second = Credit(
            jnp.zeros_like(credit.advantages), jnp.where(held, credit.weights, 0.0)
        )
        return dataclasses.replace(credit, second=second)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient, plus the distance from the old policy where it is held."""
        policy = surrogate_loss(scores, batch, credit, importance)
        held = required(credit.second, "credit.second").weights
        distance = kl_penalty(scores.logp, batch.old_logp, held, estimator=absolute)
        return policy + self.kl_coef * Loss(distance.value)
