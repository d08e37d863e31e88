"""Picking tokens by a score: by covariance (Clip-Cov, KL-Cov) or by entropy.

Selections are constants, made once for the whole batch. They sort nothing, since rows
may be on different devices: order statistics are found by counting.
"""

import chex
import jax
import jax.numpy as jnp

from jaxrl.masking import masked_mean
from jaxrl.types import Array

_HALVINGS = 64
"""Enough to tell any two floats apart that differ by 1e-19 of the range."""


def token_covariance(advantages: Array, logp: Array, mask: Array) -> Array:
    """How a token takes part in the covariance of advantage and log-probability.

    `(A - mean A) (logp - mean logp)`, over all tokens of the batch. Entropy falls with
    its mean.

    Args:
      advantages: float [N, T].
      logp: float [N, T]. Log-probability of tokens[n, t].
      mask: bool [N, T]. Tokens that count.

    Returns:
      float [N, T]. 0 outside of the mask.

    Reference: Cui et al., 2025, The Entropy Mechanism of Reinforcement Learning for
    Reasoning Language Models, equation 9, arXiv:2505.22617.

    >>> x, mask = jnp.array([[1.0, 3.0, 9.0]]), jnp.array([[True, True, False]])
    >>> token_covariance(x, x, mask).tolist()
    [[1.0, 1.0, 0.0]]
    """
    chex.assert_equal_shape([advantages, logp, mask])
    centred = (
        jnp.where(mask, x, 0.0) - masked_mean(x, mask) for x in (advantages, logp)
    )
    return jnp.where(mask, next(centred) * next(centred), 0.0)


def quota(mask: Array, share: float) -> Array:
    """Number of tokens that a share of the mask is: rounded down, but at least 1.

    Args:
      mask: bool [N, T]. Tokens that count.
      share: Between 0 and 1.

    Returns:
      int [].

    >>> int(quota(jnp.ones((4, 5), bool), 0.13))
    2
    """
    number = jnp.floor(share * jnp.sum(mask.astype(float)))
    return jnp.maximum(number, 1.0).astype(int)


def order_statistic(x: Array, mask: Array, rank: Array) -> Array:
    """Entry of the mask that has `rank` smaller ones before it in order.

    Args:
      x: float [N, T]. Finite where the mask is.
      mask: bool [N, T]. Tokens that count.
      rank: int []. From 0, the smallest, to one less than the number of tokens.

    Returns:
      float []. The largest entry where the rank is larger.

    >>> x = jnp.array([[3.0, 1.0, 2.0]])
    >>> float(order_statistic(x, jnp.ones((1, 3), bool), jnp.int32(1)))
    2.0
    """
    low = jnp.min(jnp.where(mask, x, jnp.inf))
    high = jnp.max(jnp.where(mask, x, -jnp.inf))

    def reaches(bound: Array) -> Array:
        return jnp.sum((mask & (x <= bound)).astype(int)) > rank

    def halve(_, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + 0.5 * (high - low)
        enough = reaches(middle)
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    below, _ = jax.lax.fori_loop(0, _HALVINGS, halve, (low, high))
    above = jnp.min(jnp.where(mask & (x > below), x, jnp.inf))
    return jnp.where(reaches(low), low, jnp.minimum(above, high))


def largest(scores: Array, eligible: Array, number: Array) -> Array:
    """Pick the eligible tokens with the largest scores.

    Random scores pick at random.

    Args:
      scores: float [N, T]. Finite where eligible.
      eligible: bool [N, T]. Tokens to pick from.
      number: int []. How many to pick; all eligible ones if there are fewer.

    Returns:
      bool [N, T]. Fewer are picked where the next ones in order have equal scores.

    >>> scores = jnp.array([[3.0, 1.0, 2.0, 9.0]])
    >>> eligible = jnp.array([[True, True, True, False]])
    >>> largest(scores, eligible, jnp.int32(2)).tolist()
    [[True, False, True, False]]
    """
    chex.assert_equal_shape([scores, eligible])
    scores = jnp.where(eligible, scores, 0.0)
    spare = jnp.sum(eligible.astype(int)) - number
    bound = order_statistic(scores, eligible, spare - 1)
    return eligible & ((spare <= 0) | (scores > bound))


def high_entropy(entropy: Array, mask: Array, *, share: float = 0.2) -> Array:
    """Pick the tokens of highest entropy, where a text forks.

    Those at or above the quantile `1 - share` over the mask, which is interpolated
    linearly between its neighbours.

    Args:
      entropy: float [N, T]. Entropy of the policy at each token, nats.
      mask: bool [N, T]. Tokens that count.
      share: Share of the tokens to pick.

    Returns:
      bool [N, T].

    Reference: Wang et al., 2025, Beyond the 80/20 Rule, arXiv:2506.01939.

    >>> entropy = jnp.array([[0.1, 0.4, 0.2, 0.3]])
    >>> high_entropy(entropy, jnp.ones((1, 4), bool), share=0.5).tolist()
    [[False, True, False, True]]
    """
    chex.assert_equal_shape([entropy, mask])
    entropy = jnp.where(mask, entropy, 0.0)
    last = jnp.sum(mask.astype(entropy.dtype)) - 1.0
    place = (1.0 - share) * jnp.maximum(last, 0.0)
    rank = jnp.floor(place).astype(int)
    lower = order_statistic(entropy, mask, rank)
    upper = order_statistic(entropy, mask, rank + 1)
    bound = lower + (place - jnp.floor(place)) * (upper - lower)
    return mask & (entropy >= bound)
