"""Learning a teacher's distribution."""

import math
from collections.abc import Callable

import chex
import jax.numpy as jnp

from jaxrl.divergences.top_k import as_given
from jaxrl.masking import masked_sum
from jaxrl.types import Array, Loss, Mean, TopK

Divergence = Callable[[Array, TopK], Array]
"""`(top_logp, top) -> nats [N, T]`, from `jaxrl.divergences.top_k`."""
Closure = Callable[[Array, TopK], tuple[Array, TopK]]
"""What becomes of the mass outside of the K tokens: `as_given`, `with_tail`, ..."""


def divergence_loss(
    top_logp: Array,
    top: TopK,
    weights: Array,
    *,
    divergence: Divergence,
    closure: Closure = as_given,
) -> Loss:
    """Divergence of the next-token distribution from the teacher's, `sum(w * D)`.

    The gradient flows through `top_logp`; the divergence says which KL it minimises.

    Args:
      top_logp: float [N, T, K]. Log-probability of `top.ids` under the trained model.
      top: Tokens and the teacher's log-probabilities, [N, T, K]; constant.
      weights: float [N, T]. Share of each token in the average; 0 is not trained.
      divergence: From `jaxrl.divergences.top_k`.
      closure: Applied before it.

    Returns:
      The loss, nats. Metric `divergence`: mean over the trained tokens.

    >>> from jaxrl.divergences.top_k import forward_kl
    >>> one = jnp.ones((1, 1, 1))
    >>> top, x = TopK(one.astype(int), 0.0 * one, one > 0), -2.0 * one
    >>> float(divergence_loss(x, top, 1.0 * one[0], divergence=forward_kl).value)
    2.0
    """
    chex.assert_equal_shape([top_logp, *top])
    live = weights != 0
    own = live[..., None]
    # Half of the mass on the K tokens: finite for every divergence and closure.
    filler = -math.log(2 * top_logp.shape[-1])
    top_logp, teacher = (jnp.where(own, x, filler) for x in (top_logp, top.logp))
    nats = divergence(*closure(top_logp, top._replace(logp=teacher)))
    mean = Mean(masked_sum(nats, live), jnp.sum(jnp.asarray(live, nats.dtype)))
    return Loss(masked_sum(weights * nats, live), {"divergence": mean})
