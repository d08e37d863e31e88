"""Masked-diffusion language models: their loss, and likelihood as an ELBO.

The model sees a sequence with some answer tokens hidden, each with some probability,
and predicts them from both sides. `logp[n, t]` is here the log-probability of the true
`tokens[n, t]` given the sequence with its masked tokens hidden.
"""

import chex
import jax.numpy as jnp

from jaxrl.masking import masked_sum, safe_divide
from jaxrl.types import Array, Loss, Mean


def masked_nll(logp: Array, masked: Array, probability: Array, weights: Array) -> Loss:
    """Likelihood of the hidden tokens, `-sum(w * masked * logp / probability)`.

    An upper bound of the negative log-likelihood. The weights are of all tokens that
    could have been hidden: `token_mean(every token)` is LLaDA's pre-training loss,
    `sequence_mean(answer)` its fine-tuning loss, and `token_mean(answer)` DIFFA's.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t]; read where masked.
      masked: bool [N, T]. Tokens that were hidden.
      probability: float [N, T]. With which a token of this row was hidden, above 0; t.
      weights: float [N, T]. Share of each token in the average; 0 is not trained.

    Returns:
      The loss, nats. Metric `nll`: mean over the hidden tokens that are trained.

    Reference: Nie et al., 2025, Large Language Diffusion Models (LLaDA), equation 3,
    arXiv:2502.09992; DIFFA, arXiv:2507.18452, averages over the answers' tokens.

    >>> half, mask = jnp.array([[0.5, 0.5]]), jnp.array([[True, False]])
    >>> float(masked_nll(jnp.full((1, 2), -2.0), mask, half, half).value)
    2.0
    """
    chex.assert_equal_shape([logp, masked, probability, weights])
    live = masked & (weights != 0)
    logp = jnp.where(live, logp, 0.0)
    inverse = safe_divide(jnp.ones_like(logp), jnp.where(live, probability, 0.0))
    mean = Mean(-masked_sum(logp, live), jnp.sum(jnp.asarray(live, logp.dtype)))
    return Loss(-masked_sum(weights * inverse * logp, live), {"nll": mean})


def elbo(logp: Array, masked: Array, probability: Array) -> Array:
    """Each token's part of the evidence lower bound of the log-likelihood.

    `mean_j(masked * logp / probability)` over J draws of what is hidden; the sum over
    the tokens of an answer is the estimate `B(y | x) <= log p(y | x)`. It is unbiased
    with a fresh number of hidden tokens in every draw, which is also the best use of J
    forward passes. Two models are compared on the *same* draws: then the noise of
    their difference is small.

    Args:
      logp: float [J, N, T]. Log-probability of tokens[n, t] in draw j.
      masked: bool [J, N, T]. Tokens that were hidden in draw j.
      probability: float [J, N]. The noise level t, or hidden over all answer tokens,
        l / L, where their number was drawn.

    Returns:
      float [N, T], nats; 0 where nothing was hidden. Carries gradient.

    Reference: Zhu et al., 2025, LLaDA 1.5: Variance-Reduced Preference Optimization,
    equation 5, arXiv:2505.19223; with l / L: LLaDA, equation 6, arXiv:2502.09992.

    >>> logp, masked = jnp.full((1, 1, 2), -2.0), jnp.array([[[True, False]]])
    >>> elbo(logp, masked, jnp.array([[0.5]])).tolist()
    [[-4.0, 0.0]]
    """
    chex.assert_equal_shape([logp, masked])
    terms = safe_divide(jnp.where(masked, logp, 0.0), probability[:, :, None])
    return jnp.mean(terms, axis=0)
