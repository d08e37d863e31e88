"""Credit from comparing the sequences of a group: one number per sequence.

The reward of a group of one has nothing to be compared with; each function says what it
makes of it.
"""

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.masking import safe_divide
from jaxrl.types import Array


def group_centred(rewards: Array, group: Array, *, num_groups: int) -> Array:
    """Subtract the mean of the group: `A = R - mean_g`.

    A group of one keeps its reward. A group of equal rewards gets exactly 0.

    Args:
      rewards: float [S]. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.

    Returns:
      float [S].

    Reference: Liu et al., 2025, Understanding R1-Zero-Like Training (Dr. GRPO),
    section 3.2, arXiv:2503.20783.

    >>> rewards, group = jnp.array([1.0, 0.0]), jnp.array([0, 0])
    >>> group_centred(rewards, group, num_groups=1).tolist()
    [0.5, -0.5]
    """
    chex.assert_equal_shape([rewards, group])
    alone = segments.segment_count(group, num_groups=num_groups) == 1
    mean = segments.segment_mean(rewards, group, num_groups=num_groups)
    differs = alone | differs_within(rewards, group, num_groups=num_groups)
    return jnp.where(differs, rewards - jnp.where(alone, 0.0, mean), 0.0)


def group_normalised(
    rewards: Array, group: Array, *, num_groups: int, ddof: int = 1, eps: float = 1e-6
) -> Array:
    """Subtract the mean of the group and divide by its deviation.

    `A = (R - mean_g) / (std_g + eps)`. A group of one has mean 0 and deviation 1, so it
    keeps its reward. A group of equal rewards gets exactly 0.

    Args:
      rewards: float [S]. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.
      ddof: 1 divides the variance by n - 1, 0 by n. The paper doesn't say.
      eps: Added to the deviation.

    Returns:
      float [S].

    Reference: Shao et al., 2024, DeepSeekMath, section 4.1.2, arXiv:2402.03300.

    >>> rewards, group = jnp.array([1.0, 0.0]), jnp.array([0, 0])
    >>> group_normalised(rewards, group, num_groups=1, ddof=0, eps=0.0).tolist()
    [1.0, -1.0]
    """
    alone = segments.segment_count(group, num_groups=num_groups) == 1
    std = segments.segment_std(rewards, group, num_groups=num_groups, ddof=ddof)
    centred = group_centred(rewards, group, num_groups=num_groups)
    return safe_divide(centred, jnp.where(alone, 1.0, std) + eps)


def leave_one_out(rewards: Array, group: Array, *, num_groups: int) -> Array:
    """Subtract the mean of the other members: `A = n / (n - 1) * (R - mean_g)`.

    A group of one gets 0: it has no others. A group of equal rewards gets exactly 0.

    Args:
      rewards: float [S]. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.

    Returns:
      float [S].

    Reference: Ahmadian et al., 2024, Back to Basics: Revisiting REINFORCE Style
    Optimization (RLOO), section 2, arXiv:2402.14740.

    >>> rewards, group = jnp.array([1.0, 0.0, 0.5]), jnp.array([0, 0, 0])
    >>> leave_one_out(rewards, group, num_groups=1).tolist()
    [0.75, -0.75, 0.0]
    """
    chex.assert_equal_shape([rewards, group])
    count = segments.segment_count(group, num_groups=num_groups).astype(rewards.dtype)
    mean = segments.segment_mean(rewards, group, num_groups=num_groups)
    differs = differs_within(rewards, group, num_groups=num_groups)
    advantages = (rewards - mean) * safe_divide(count, count - 1.0)
    return jnp.where(differs, advantages, 0.0)


def differs_within(rewards: Array, group: Array, *, num_groups: int) -> Array:
    """Tell which sequences have a group whose rewards are not all equal.

    Args:
      rewards: float [S]. One per sequence.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.

    Returns:
      bool [S]. False in a group of one.

    >>> rewards, group = jnp.array([1.0, 0.0, 2.0]), jnp.array([0, 0, 1])
    >>> differs_within(rewards, group, num_groups=2).tolist()
    [True, True, False]
    """
    # No difference is taken: where rewards are computed, the compiler may fuse that
    # into a subtraction, rounded only once, and equal rewards would differ.
    high = segments.segment_max(rewards, group, num_groups=num_groups)
    low = -segments.segment_max(-rewards, group, num_groups=num_groups)
    return high != low


def spread(advantages: Array, sequence: Array, mask: Array) -> Array:
    """Give every token the advantage of its sequence.

    Args:
      advantages: float [S]. One per sequence.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that get it.

    Returns:
      float [N, T]. 0 outside of the mask.

    >>> sequence, mask = jnp.array([[1, 1, -1]]), jnp.array([[False, True, False]])
    >>> spread(jnp.array([2.0, 3.0]), sequence, mask).tolist()
    [[0.0, 3.0, 0.0]]
    """
    chex.assert_equal_shape([sequence, mask])
    # Select and sum, not a gather: rows may be sharded, and XLA fuses the comparison.
    own = sequence[:, :, None] == jnp.arange(len(advantages))[None, None, :]
    own &= mask[:, :, None]
    return jnp.sum(jnp.where(own, advantages[None, None, :], 0.0), axis=-1)


def totals(x: Array, sequence: Array, mask: Array, *, num_sequences: int) -> Array:
    """Sum over the tokens of each sequence: from tokens to sequences, as `spread` back.

    Args:
      x: float [N, T].
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that count.
      num_sequences: Ids are below this number.

    Returns:
      float [S]. 0 for a sequence without a token in the mask.

    >>> sequence, mask = jnp.array([[1, 1, -1]]), jnp.array([[True, True, False]])
    >>> totals(jnp.ones((1, 3)), sequence, mask, num_sequences=2).tolist()
    [0.0, 2.0]
    """
    chex.assert_equal_shape([x, sequence, mask])
    own = sequence[:, :, None] == jnp.arange(num_sequences)[None, None, :]
    own &= mask[:, :, None]
    return jnp.sum(jnp.where(own, x[:, :, None], 0.0), axis=(0, 1))


def lengths(sequence: Array, mask: Array, *, num_sequences: int) -> Array:
    """Number of tokens of each sequence in the mask.

    Args:
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that count.
      num_sequences: Ids are below this number.

    Returns:
      float [S], tokens.

    >>> sequence, mask = jnp.array([[1, 1, -1]]), jnp.array([[True, True, False]])
    >>> lengths(sequence, mask, num_sequences=2).tolist()
    [0.0, 2.0]
    """
    return totals(jnp.asarray(mask, float), sequence, mask, num_sequences=num_sequences)
