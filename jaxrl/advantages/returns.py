"""Credit from what follows a token: discounted returns and GAE.

Tokens outside of the mask (prompt, tool output, padding) aren't steps: time stands
still on them, and nothing flows from one sequence into another.
"""

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.advantages.groups import spread
from jaxrl.types import Array


def at_end(rewards: Array, sequence: Array, mask: Array) -> Array:
    """Put the reward of each sequence on its last trained token.

    Args:
      rewards: float [S]. One per sequence.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.

    Returns:
      float [N, T]. 0 on all other tokens.

    >>> sequence, mask = jnp.zeros((1, 3), int), jnp.array([[True, True, False]])
    >>> at_end(jnp.array([5.0]), sequence, mask).tolist()
    [[0.0, 5.0, 0.0]]
    """
    return spread(rewards, sequence, segments.last(mask, sequence))


def discounted_returns(
    rewards: Array, sequence: Array, mask: Array, *, discount: float = 1.0
) -> Array:
    """Sum what follows: `G[t] = rewards[t] + discount * G[next trained token]`.

    Args:
      rewards: float [N, T]. Reward of each token.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.
      discount: Factor per trained token; gamma.

    Returns:
      float [N, T]. 0 outside of the mask.

    Differs from the verl release: a hole in the mask doesn't cut the return.

    >>> rewards, sequence = jnp.array([[0.0, 1.0]]), jnp.zeros((1, 2), int)
    >>> discounted_returns(rewards, sequence, sequence == 0, discount=0.5).tolist()
    [[0.5, 1.0]]
    """
    chex.assert_equal_shape([rewards, sequence, mask])
    rewards = jnp.where(mask, rewards, 0.0)
    returns = segments.decayed_sum(rewards, _decay(sequence, mask, discount, rewards))
    return jnp.where(mask, returns, 0.0)


def gae(
    rewards: Array,
    values: Array,
    sequence: Array,
    mask: Array,
    *,
    discount: float = 1.0,
    decay: float = 0.95,
) -> tuple[Array, Array]:
    """Generalised advantage estimation over the trained tokens of each sequence.

    `delta[t] = rewards[t] + discount * V[next] - V[t]` and
    `A[t] = delta[t] + discount * decay * A[next]`; after the last token both are 0.

    Args:
      rewards: float [N, T]. Reward of each token.
      values: float [N, T]. Expected return before tokens[n, t] is sampled; constant.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.
      discount: Factor per trained token; gamma.
      decay: 0 trusts the critic alone, 1 the rewards alone; lambda.

    Returns:
      Advantages and returns `A + V`, float [N, T] each; 0 outside of the mask.

    Reference: Schulman et al., 2016, High-Dimensional Continuous Control Using
    Generalized Advantage Estimation, equation 16, arXiv:1506.02438.

    >>> rewards, sequence = jnp.array([[0.0, 1.0]]), jnp.zeros((1, 2), int)
    >>> gae(rewards, 0.5 + 0 * rewards, sequence, sequence == 0, decay=1.0)[0].tolist()
    [[0.5, 0.5]]
    """
    chex.assert_equal_shape([rewards, values, sequence, mask])
    rewards, values = (jnp.where(mask, x, 0.0) for x in (rewards, values))
    # The value of the next trained token: carried over the holes, then shifted by one.
    carried = segments.decayed_sum(values, _decay(sequence, mask, 0.0, values))
    nothing = jnp.zeros_like(values[:, :1])
    following = jnp.concatenate([carried[:, 1:], nothing], axis=1)
    following = jnp.where(segments.continues(sequence), following, 0.0)
    delta = jnp.where(mask, rewards + discount * following - values, 0.0)
    advantages = segments.decayed_sum(
        delta, _decay(sequence, mask, discount * decay, delta)
    )
    advantages = jnp.where(mask, advantages, 0.0)
    return advantages, advantages + values


def _decay(sequence: Array, mask: Array, factor: float, like: Array) -> Array:
    """`factor` on trained tokens, 1 on the others, 0 at the end of a sequence."""
    step = jnp.where(mask, factor, 1.0).astype(like.dtype)
    return jnp.where(segments.continues(sequence), step, 0.0)
