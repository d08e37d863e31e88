"""Preference optimization of masked-diffusion language models."""

import dataclasses
from functools import partial

import jax.numpy as jnp

from jaxrl.losses.preference import logistic, summed
from jaxrl.losses.supervised import nll
from jaxrl.methods.pairs import PairScores, pair_credit, pair_preference
from jaxrl.types import Credit, Loss, Needs, Pairs


@dataclasses.dataclass(frozen=True)
class Vrpo:
    """VRPO: DPO with ELBO estimates for log-probabilities (arXiv:2505.19223).

    `logp` and `ref_logp` hold each token's part of the ELBO (`losses.diffusion.elbo`)
    under the *same* draws of hidden tokens, which makes their difference precise;
    chosen and rejected answers have draws of their own. At the reference the loss is
    exactly log 2, whatever the draws.

    Attributes:
      beta: Small values let the policy go far from the reference.
      sft_coef: Coefficient of the likelihood of chosen answers; LLaDA 1.5 has 0.05,
        DIFFA-2 (arXiv:2601.23161) none.
    """

    beta: float = 0.2
    sft_coef: float = 0.0

    needs = Needs(reference=True, pairs=True, elbo=True)

    def credit(self, pairs: Pairs) -> Credit:
        """Weigh pairs alike."""
        return pair_credit(pairs)

    def loss(self, scores: PairScores, pairs: Pairs, credit: Credit) -> Loss:
        """Logistic loss of ELBO differences, plus the likelihood of chosen answers."""
        loss = pair_preference(
            scores,
            pairs,
            credit,
            score=summed,
            pair_loss=partial(logistic, beta=self.beta),
        )
        if self.sft_coef == 0:
            return loss
        return loss + self.sft_coef * nll(
            scores.chosen.logp, _token_shares(pairs, credit)
        )


def _token_shares(pairs: Pairs, credit: Credit):
    """Split the share of a pair evenly over the tokens of its chosen answer."""
    mask = pairs.chosen.mask
    count = jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
    return jnp.where(mask, credit.weights[:, None], 0.0) / jnp.asarray(count, float)
