"""Credit from a critic when the data is old: V-trace."""

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.advantages.returns import following
from jaxrl.types import Array


def vtrace(
    rewards: Array,
    values: Array,
    ratio: Array,
    sequence: Array,
    mask: Array,
    *,
    discount: float = 1.0,
    decay: float = 1.0,
    cap: float = 1.0,
    advantage_cap: float = 1.0,
) -> tuple[Array, Array]:
    """Correct returns for old data by truncated importance sampling.

    With `delta[t] = min(cap, r) * (rewards[t] + discount * V[next] - V[t])`, errors are
    `e[t] = delta[t] + discount * decay * min(1, r) * e[next]`, targets `V + e`, and
    `A[t] = min(advantage_cap, r) * (rewards[t] + discount * (V + decay * e)[next] -
    V[t])`. At ratio 1 the errors are those of `gae`; targets are constants.

    Args:
      rewards: float [N, T]. Reward of each token.
      values: float [N, T]. Expected return before tokens[n, t] is sampled; constant.
      ratio: float [N, T]. New over old probability of tokens[n, t], r; constant.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.
      discount: Factor per trained token; gamma.
      decay: 0 looks one step ahead, 1 is the paper's; lambda.
      cap: Largest ratio in the errors; it decides whose values the critic learns.
      advantage_cap: Largest ratio in the advantages.

    Returns:
      Advantages and targets of the critic, float [N, T] each; 0 outside of the mask.

    Reference: Espeholt et al., 2018, IMPALA, equation 1 and remark 1, arXiv:1802.01561.

    >>> rewards, one = jnp.array([[0.0, 1.0]]), jnp.zeros((1, 2), int)
    >>> vtrace(rewards, 0.0 * rewards, 0.5 + rewards, one, one == 0)[0].tolist()
    [[0.5, 1.0]]
    """
    chex.assert_equal_shape([rewards, values, ratio, sequence, mask])
    rewards, values, ratio = (jnp.where(mask, x, 0.0) for x in (rewards, values, ratio))
    ahead = following(values, sequence, mask)
    delta = jnp.minimum(cap, ratio) * (rewards + discount * ahead - values)
    trace = jnp.where(mask, discount * decay * jnp.minimum(1.0, ratio), 1.0)
    trace = jnp.where(segments.continues(sequence), trace.astype(delta.dtype), 0.0)
    errors = jnp.where(mask, segments.decayed_sum(delta, trace), 0.0)
    bootstrap = ahead + decay * following(errors, sequence, mask)
    advantages = rewards + discount * bootstrap - values
    advantages = jnp.minimum(advantage_cap, ratio) * advantages
    return jnp.where(mask, advantages, 0.0), jnp.where(mask, values + errors, 0.0)
