"""Learning from given text."""

import chex
import jax.numpy as jnp

from jaxrl.masking import masked_sum
from jaxrl.types import Array, Loss, Mean


def nll(logp: Array, weights: Array) -> Loss:
    """Negative log-likelihood of the tokens, `-sum(w * logp)`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained model.
      weights: float [N, T]. Share of each token in the average; 0 is not trained.

    Returns:
      The loss, nats. Metric `nll`: mean over the trained tokens.

    >>> float(nll(jnp.array([[-2.0, -4.0]]), jnp.array([[0.5, 0.5]])).value)
    3.0
    """
    chex.assert_equal_shape([logp, weights])
    live = weights != 0
    logp = jnp.where(live, logp, 0.0)
    mean = Mean(-masked_sum(logp, live), jnp.sum(live.astype(logp.dtype)))
    return Loss(-masked_sum(weights * logp, live), {"nll": mean})
