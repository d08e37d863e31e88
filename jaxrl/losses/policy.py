"""The policy-gradient loss: credit times trust times weights."""

from collections.abc import Callable

import chex
import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxrl.divergences.samples import k3
from jaxrl.masking import masked_sum
from jaxrl.surrogates.ratio import Surrogate, importance_ratio
from jaxrl.types import Array, Loss, Mean

SurrogateFunction = Callable[[Array, Array, Array, Array], Surrogate]
"""`(logp, old_logp, advantages, mask) -> Surrogate`."""


def policy_gradient(
    logp: Array,
    old_logp: Array,
    advantages: Array,
    weights: Array,
    *,
    surrogate: SurrogateFunction,
) -> Loss:
    """Surrogate policy-gradient loss, `-sum(w * A * v)` with `d v / d logp = slope`.

    The gradient flows through `logp` alone and is `-w * A * slope` for every token.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      advantages: float [N, T]. Credit of each token.
      weights: float [N, T]. Share of each token in the average; 0 is not trained.
      surrogate: How far old data is trusted, from `jaxrl.surrogates`.

    Returns:
      The loss. Metrics are means over the trained tokens: `ratio`, `clip_fraction`
      (slope 0), `policy_kl` (k3 from the old policy to the trained one, nats) and
      `logp_gap` (mean distance of the two log-probabilities, nats; at the first update
      of a batch this is the gap between sampler and trainer).

    >>> from jaxrl.surrogates.clipping import importance
    >>> x = jnp.ones((1, 1))
    >>> float(policy_gradient(x, x, 2.0 * x, x, surrogate=importance).value)
    -2.0
    """
    chex.assert_equal_shape([logp, old_logp, advantages, weights])
    live = weights != 0
    logp, old_logp, advantages = (
        jnp.where(live, x, 0.0) for x in (logp, old_logp, advantages)
    )
    constant = stop_gradient(logp)
    trust = surrogate(constant, old_logp, advantages, live)
    objective = advantages * (trust.value + trust.slope * (logp - constant))
    metrics = _trust_metrics(constant, old_logp, trust, live)
    return Loss(-masked_sum(weights * objective, live), metrics)


def _trust_metrics(
    logp: Array, old_logp: Array, trust: Surrogate, live: Array
) -> dict[str, Mean]:
    """Means over the live tokens that tell how far old and trained policy are apart."""
    count = jnp.sum(live.astype(logp.dtype))
    tokenwise = {
        "ratio": importance_ratio(logp, old_logp, live),
        "clip_fraction": (trust.slope == 0).astype(logp.dtype),
        "policy_kl": k3(old_logp, logp),
        "logp_gap": jnp.abs(logp - old_logp),
    }
    return {name: Mean(masked_sum(x, live), count) for name, x in tokenwise.items()}
