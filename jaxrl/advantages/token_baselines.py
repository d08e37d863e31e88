"""The baseline of least variance, for each token of a group.

A token's place is its number among the trained tokens of its sequence, so holes (tool
output) and prompts of different length don't shift what is compared.
"""

import chex
import jax
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.masking import safe_divide
from jaxrl.types import Array


def gradient_energy(
    logp: Array,
    squares: Array,
    sequence: Array,
    mask: Array,
    ratio: Array | None = None,
) -> Array:
    """Estimate the squared gradient of a sequence up to each token.

    `W[t] = sum over trained tokens up to t of (1 - 2 pi + sum_v pi_v^2)`, the squared
    gradient of `log pi` by the logits: `|e_a - pi|^2`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the old policy.
      squares: float [N, T]. Sum of the squared probabilities of the vocabulary.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.
      ratio: float [N, T]. Importance weight of each token, whose square multiplies its
        part; None is 1.

    Returns:
      float [N, T], at least 0. 0 outside of the mask.

    Reference: Li et al., 2026, The Optimal Token Baseline: Variance Reduction for
    Long-Horizon LLM-RL, arXiv:2602.07078.

    >>> x, one = jnp.log(jnp.array([[0.5, 0.25]])), jnp.zeros((1, 2), int)
    >>> gradient_energy(x, 0.5 + 0.0 * x, one, one == 0).tolist()
    [[0.5, 1.5]]
    """
    chex.assert_equal_shape([logp, squares, sequence, mask])
    logp, squares = (jnp.where(mask, x, 0.0) for x in (logp, squares))
    energy = jnp.where(mask, 1.0 - 2.0 * jnp.exp(logp) + squares, 0.0)
    if ratio is not None:
        energy = energy * jnp.where(mask, ratio, 0.0) ** 2
    return jnp.where(mask, _running_sum(energy, sequence), 0.0)


def optimal_token_baseline(
    returns: Array,
    energy: Array,
    sequence: Array,
    mask: Array,
    group: Array,
    *,
    min_count: int = 2,
) -> Array:
    """Mean return of the group at the same place, weighted by gradient energy.

    `B = sum(G W) / sum(W)` over the tokens of a group that have the same place; the
    advantage is `G - B`.

    Args:
      returns: float [N, T]. What follows each token, G.
      energy: float [N, T]. From `gradient_energy`, W.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that the policy sampled.
      group: int [S]. Sequences with equal id are compared with each other.
      min_count: Tokens at a place below which there is no baseline; with 1, the tail of
        the longest sequence is compared with itself, which leaves it no advantage.

    Returns:
      float [N, T]. 0 outside of the mask and where there is no baseline.

    Reference: Li et al., 2026, The Optimal Token Baseline: Variance Reduction for
    Long-Horizon LLM-RL, arXiv:2602.07078.

    >>> returns, sequence = jnp.array([[3.0], [0.0]]), jnp.array([[0], [1]])
    >>> energy, group = jnp.array([[1.0], [2.0]]), jnp.array([0, 0])
    >>> optimal_token_baseline(returns, energy, sequence, sequence >= 0, group).tolist()
    [[1.0], [1.0]]
    """
    chex.assert_equal_shape([returns, energy, sequence, mask])
    place = _running_sum(jnp.asarray(mask, float), sequence).astype(int) - 1
    token_group = jnp.where(mask, group[sequence], 0)
    key = jnp.where(mask, token_group * mask.shape[1] + place, 0)

    def over_group(x: Array) -> Array:
        x = jnp.where(mask, x, 0.0).ravel()
        sums = jax.ops.segment_sum(x, key.ravel(), len(group) * mask.shape[1])
        return sums[key]

    baseline = safe_divide(over_group(returns * energy), over_group(energy))
    count = over_group(jnp.ones_like(energy))
    return jnp.where(mask & (count >= min_count), baseline, 0.0)


def _running_sum(x: Array, sequence: Array) -> Array:
    """Sum of the tokens of the same sequence up to and including this one."""
    mirrored = jnp.flip(sequence, 1)
    decay = segments.continues(mirrored).astype(x.dtype)
    return jnp.flip(segments.decayed_sum(jnp.flip(x, 1), decay), 1)
