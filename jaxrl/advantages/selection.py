"""Train on some tokens or samples more than on others."""

import chex
import jax.numpy as jnp

from jaxrl.types import Array


def sign_weighted(
    advantages: Array, *, positive: float = 0.1, negative: float = 1.0
) -> Array:
    """Scale good and bad advantages apart (W-REINFORCE).

    Learning what not to do keeps the policy diverse; 0 and 1 learn from failures alone.

    Args:
      advantages: float [...].
      positive: Factor where above 0.
      negative: Factor where below 0.

    Returns:
      float [...].

    Reference: Zhu et al., 2025, The Surprising Effectiveness of Negative Reinforcement
    in LLM Reasoning, section 5, arXiv:2506.01347.

    >>> sign_weighted(jnp.array([2.0, -2.0]), positive=0.5).tolist()
    [1.0, -2.0]
    """
    return advantages * jnp.where(advantages > 0, positive, negative)


def fork_tokens(entropy: Array, mask: Array, *, fraction: float = 0.2) -> Array:
    """Mark the tokens at which the policy hesitated most.

    Those with an entropy of at least the `1 - fraction` quantile of the batch, which is
    interpolated linearly between tokens.

    Args:
      entropy: float [N, T]. Of the policy at each token, nats.
      mask: bool [N, T]. Tokens that count.
      fraction: Share of the tokens to keep, in (0, 1].

    Returns:
      bool [N, T]. A new mask, within the old one.

    Reference: Wang et al., 2025, Beyond the 80/20 Rule: High-Entropy Minority Tokens
    Drive Effective Reinforcement Learning for LLM Reasoning, equation 6,
    arXiv:2506.01939.

    >>> entropy = jnp.array([[1.0, 2.0, 3.0, 4.0, 9.0]])
    >>> fork_tokens(entropy, entropy < 9, fraction=0.5).tolist()
    [[False, False, True, True, False]]
    """
    chex.assert_equal_shape([entropy, mask])
    ordered = jnp.sort(jnp.where(mask, entropy, jnp.inf).ravel())
    last = jnp.maximum(jnp.sum(mask) - 1, 0)
    place = last.astype(entropy.dtype) * (1.0 - fraction)
    below = jnp.floor(place)
    index = below.astype(int)
    low, high = ordered[index], ordered[jnp.minimum(index + 1, last)]
    threshold = low + (place - below) * (high - low)
    return mask & (entropy >= threshold)
