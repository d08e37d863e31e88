"""Credit from what follows a token: returns of one, n or all steps, and GAE.

Tokens outside of the mask (prompt, tool output, padding) aren't steps: time stands
still on them, and nothing flows from one sequence into another.
"""

import chex
import jax
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
    ahead = following(values, sequence, mask)
    delta = jnp.where(mask, rewards + discount * ahead - values, 0.0)
    advantages = segments.decayed_sum(
        delta, _decay(sequence, mask, discount * decay, delta)
    )
    advantages = jnp.where(mask, advantages, 0.0)
    return advantages, advantages + values


def following(x: Array, sequence: Array, mask: Array) -> Array:
    """What stands on the next trained token of the same sequence.

    Args:
      x: float [N, T]. Finite in the mask.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.

    Returns:
      float [N, T]. 0 where no trained token follows.

    >>> x, one = jnp.array([[1.0, 2.0, 3.0]]), jnp.zeros((1, 3), int)
    >>> following(x, one, jnp.array([[True, False, True]])).tolist()
    [[3.0, 3.0, 0.0]]
    """
    chex.assert_equal_shape([x, sequence, mask])
    x = jnp.where(mask, x, 0.0)
    # Carried over the holes, then shifted by one.
    carried = segments.decayed_sum(x, _decay(sequence, mask, 0.0, x))
    ahead = jnp.concatenate([carried[:, 1:], jnp.zeros_like(x[:, :1])], axis=1)
    return jnp.where(segments.continues(sequence), ahead, 0.0)


def lambda_returns(
    rewards: Array,
    values: Array,
    sequence: Array,
    mask: Array,
    *,
    discount: float = 1.0,
    decay: float = 0.95,
) -> Array:
    """Returns that mix those of all lengths with geometric weights.

    `G[t] = rewards[t] + discount * ((1 - decay) * V[next] + decay * G[next])`; after
    the last token both are 0. `lambda_returns - values` is `gae`.

    Args:
      rewards: float [N, T]. Reward of each token.
      values: float [N, T]. Expected return before tokens[n, t] is sampled; constant.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.
      discount: Factor per trained token; gamma.
      decay: 0 looks one step ahead, 1 sums all rewards; lambda.

    Returns:
      float [N, T]. 0 outside of the mask.

    Reference: Sutton and Barto, 2018, Reinforcement Learning: An Introduction,
    equation 12.2.

    >>> rewards, one = jnp.array([[1.0, 1.0]]), jnp.zeros((1, 2), int)
    >>> lambda_returns(rewards, 4.0 * rewards, one, one == 0, decay=0.5).tolist()
    [[3.5, 1.0]]
    """
    chex.assert_equal_shape([rewards, values, sequence, mask])
    rewards, values = (jnp.where(mask, x, 0.0) for x in (rewards, values))
    ahead = following(values, sequence, mask)
    steps = jnp.where(mask, rewards + discount * (1.0 - decay) * ahead, 0.0)
    mixed = segments.decayed_sum(steps, _decay(sequence, mask, discount * decay, steps))
    return jnp.where(mask, mixed, 0.0)


def n_step_returns(
    rewards: Array,
    values: Array,
    sequence: Array,
    mask: Array,
    *,
    steps: int,
    discount: float = 1.0,
) -> Array:
    """Sum `steps` rewards, then trust the critic; fewer at the end of a sequence.

    Args:
      rewards: float [N, T]. Reward of each token.
      values: float [N, T]. Expected return before tokens[n, t] is sampled; constant.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.
      steps: Trained tokens whose rewards are summed; n.
      discount: Factor per trained token; gamma.

    Returns:
      float [N, T]. 0 outside of the mask.

    Reference: Sutton and Barto, 2018, Reinforcement Learning: An Introduction,
    equation 7.1.

    >>> x, one = jnp.array([[1.0, 1.0, 1.0]]), jnp.zeros((1, 3), int)
    >>> n_step_returns(x, 4.0 * x, one, one == 0, steps=2).tolist()
    [[6.0, 2.0, 1.0]]
    """
    chex.assert_equal_shape([rewards, values, sequence, mask])
    rewards, values = (jnp.where(mask, x, 0.0) for x in (rewards, values))

    def extend(_, returns: Array) -> Array:
        ahead = following(returns, sequence, mask)
        return jnp.where(mask, rewards + discount * ahead, 0.0)

    return jax.lax.fori_loop(0, steps, extend, values)


def less_kl(
    rewards: Array,
    old_logp: Array,
    ref_logp: Array,
    mask: Array,
    *,
    coef: float,
) -> Array:
    """Pay for the distance from a reference in the reward of each token.

    `rewards - coef * (old_logp - ref_logp)`: the k1 estimate of the KL, whose place is
    the reward, not the loss.

    Args:
      rewards: float [N, T]. Reward of each token.
      old_logp: float [N, T]. Log-probability under the policy that sampled it.
      ref_logp: float [N, T]. Under the reference.
      mask: bool [N, T]. Tokens that the policy sampled.
      coef: Price of a nat; beta.

    Returns:
      float [N, T]. 0 outside of the mask.

    Reference: Ouyang et al., 2022, Training Language Models to Follow Instructions with
    Human Feedback, equation 2, arXiv:2203.02155.

    >>> x, mask = jnp.ones((1, 2)), jnp.array([[True, False]])
    >>> less_kl(x, -1.0 * x, -3.0 * x, mask, coef=0.25).tolist()
    [[0.5, 0.0]]
    """
    chex.assert_equal_shape([rewards, old_logp, ref_logp, mask])
    rewards, old_logp, ref_logp = (
        jnp.where(mask, x, 0.0) for x in (rewards, old_logp, ref_logp)
    )
    return rewards - coef * (old_logp - ref_logp)


def _decay(sequence: Array, mask: Array, factor: float, like: Array) -> Array:
    """`factor` on trained tokens, 1 on the others, 0 at the end of a sequence."""
    step = jnp.where(mask, factor, 1.0).astype(like.dtype)
    return jnp.where(segments.continues(sequence), step, 0.0)
