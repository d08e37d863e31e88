"""Terms that pull on the policy whatever the reward says."""

from collections.abc import Callable

import chex
import jax.numpy as jnp

from jaxrl.masking import masked_sum
from jaxrl.types import Array, Loss, Mean

Estimator = Callable[[Array, Array], Array]
"""`(logp, other_logp) -> nats per token`, from `jaxrl.divergences.samples`."""


def kl_penalty(
    logp: Array, ref_logp: Array, weights: Array, *, estimator: Estimator
) -> Loss:
    """Penalise the distance from a reference policy, `sum(w * estimator)`.

    The gradient flows through `logp`; the estimator says which KL it minimises.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      ref_logp: float [N, T]. Under the reference; constant.
      weights: float [N, T]. Share of each token in the average; 0 is not trained.
      estimator: One of `k1`, `k2` and `k3`.

    Returns:
      The loss, nats. Metric `ref_kl`: mean over the trained tokens.

    >>> from jaxrl.divergences.samples import k2
    >>> x = jnp.ones((1, 1))
    >>> float(kl_penalty(2.0 * x, x, x, estimator=k2).value)
    0.5
    """
    chex.assert_equal_shape([logp, ref_logp, weights])
    live = weights != 0
    kl = estimator(jnp.where(live, logp, 0.0), jnp.where(live, ref_logp, 0.0))
    return _weighted("ref_kl", kl, weights)


def adaptive_coefficient(
    coef: Array, kl: Array, *, target: float, horizon: float, samples: int
) -> Array:
    """Move the coefficient of a penalty towards what keeps the KL at its target.

    `coef * (1 + clip(kl / target - 1, -0.2, 0.2) * samples / horizon)`.

    Args:
      coef: float []. The coefficient so far.
      kl: float []. Measured with it, nats.
      target: Where the KL should be, nats.
      horizon: How many samples a full correction takes.
      samples: How many samples `kl` was measured on.

    Returns:
      float []. The next coefficient.

    Reference: Ziegler et al., 2019, Fine-Tuning Language Models from Human Preferences,
    section 2.2, arXiv:1909.08593.

    >>> one = jnp.float32(1.0)
    >>> float(adaptive_coefficient(one, 3 * one, target=4.0, horizon=1.6, samples=2))
    0.75
    """
    error = jnp.clip(kl / target - 1.0, -0.2, 0.2)
    return coef * (1.0 + error * samples / horizon)


def entropy_bonus(entropy: Array, weights: Array) -> Loss:
    """Reward entropy, `-sum(w * H)`; scale it by a small coefficient.

    Args:
      entropy: float [N, T]. Entropy of the trained policy at each token, nats; carries
        gradient.
      weights: float [N, T]. Share of each token in the average; 0 is not trained.

    Returns:
      The loss. Metric `entropy`: mean over the trained tokens, nats.

    >>> float(entropy_bonus(jnp.ones((1, 1)), jnp.ones((1, 1))).value)
    -1.0
    """
    chex.assert_equal_shape([entropy, weights])
    loss = _weighted("entropy", jnp.where(weights != 0, entropy, 0.0), weights)
    return Loss(-loss.value, loss.metrics)


def _weighted(name: str, term: Array, weights: Array) -> Loss:
    live = weights != 0
    count = jnp.sum(live.astype(term.dtype))
    metrics = {name: Mean(masked_sum(term, live), count)}
    return Loss(masked_sum(weights * term, live), metrics)
