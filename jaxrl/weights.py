"""How tokens are averaged, as data: a loss is always `sum(weights * token_loss)`.

Weights are made once from the mask of the whole batch, so micro-batches, packing and
data parallelism add up to the same number. Masked tokens weigh 0, and sequences without
a token in the mask count for nothing, not even in a denominator.
"""

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.masking import safe_divide
from jaxrl.types import Array


def token_mean(mask: Array) -> Array:
    """Weigh all tokens of the batch alike: `1 / number of tokens`.

    Args:
      mask: bool [N, T]. Tokens to average over.

    Returns:
      float [N, T]. Sums to 1, or to 0 if the mask is empty.

    Reference: Yu et al., 2025, DAPO, equation 12, arXiv:2503.14476.

    >>> token_mean(jnp.array([[True, True], [True, True]])).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    live = jnp.asarray(mask, float)
    return safe_divide(live, jnp.sum(live))


def sequence_mean(mask: Array, sequence: Array | None = None) -> Array:
    """Weigh sequences alike, and tokens within each: the mean of token means.

    Args:
      mask: bool [N, T]. Tokens to average over.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T]. Sums to 1, or to 0 if the mask is empty.

    Reference: Shao et al., 2024, DeepSeekMath, equation 3, arXiv:2402.03300.

    >>> sequence_mean(jnp.array([[True, True], [True, False]])).tolist()
    [[0.25, 0.25], [0.5, 0.0]]
    """
    sequence = _rows(mask) if sequence is None else sequence
    live = jnp.asarray(mask, float)
    means = safe_divide(live, segments.pool(live, sequence))
    return safe_divide(means, _number(mask, sequence))


def sequence_sum(mask: Array, sequence: Array | None = None) -> Array:
    """Average the sums of the sequences: `1 / number of sequences` for each token.

    Args:
      mask: bool [N, T]. Tokens to average over.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T]. Sums to the mean length of a sequence, in tokens.

    >>> sequence_sum(jnp.array([[True, True], [True, False]])).tolist()
    [[0.5, 0.5], [0.5, 0.0]]
    """
    sequence = _rows(mask) if sequence is None else sequence
    return safe_divide(jnp.asarray(mask, float), _number(mask, sequence))


def constant_length(
    mask: Array, sequence: Array | None = None, *, length: float
) -> Array:
    """Divide by a constant instead of the length, which favours no length.

    `w = 1 / (number of sequences * length)` for each token.

    Args:
      mask: bool [N, T]. Tokens to average over.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.
      length: A constant of the run, in tokens, such as the longest response.

    Returns:
      float [N, T]. Sums to the mean length over `length`.

    Reference: Liu et al., 2025, Understanding R1-Zero-Like Training (Dr. GRPO),
    section 3.2, arXiv:2503.20783.

    >>> constant_length(jnp.array([[True, False], [True, True]]), length=4).tolist()
    [[0.125, 0.0], [0.125, 0.125]]
    """
    return sequence_sum(mask, sequence) / length


def _rows(mask: Array) -> Array:
    """Number the rows: one sequence per row, no padding."""
    return jnp.zeros_like(mask, int)


def _number(mask: Array, sequence: Array) -> Array:
    """Number of sequences that have a token in the mask."""
    chex.assert_equal_shape([mask, sequence])
    return jnp.sum(jnp.asarray(segments.last(mask, sequence), float))
