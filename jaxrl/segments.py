"""Statistics over stretches of tokens in a row, and over groups of sequences.

Token functions work within rows ([N, T]), so they stay where the rows are and need no
number of sequences. Group functions work on [S] vectors, by segment sums, so groups may
be ragged and shuffled. Both give every member the statistic of what it belongs to.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import Array


def decayed_sum(x: Array, decay: Array) -> Array:
    """Backward recurrence `h[t] = x[t] + decay[t] * h[t + 1]` in every row.

    Args:
      x: float [N, T]. Finite.
      decay: float [N, T]. 0 starts afresh after token t.

    Returns:
      float [N, T].

    >>> decayed_sum(jnp.ones((1, 3)), jnp.array([[0.5, 0.0, 0.5]])).tolist()
    [[1.5, 1.0, 1.0]]
    """

    def chain(later: tuple[Array, Array], earlier: tuple[Array, Array]):
        return later[0] * earlier[0], earlier[1] + earlier[0] * later[1]

    return jax.lax.associative_scan(chain, (decay, x), reverse=True, axis=1)[1]


def continues(sequence: Array) -> Array:
    """Tell which tokens are followed by another one of the same sequence.

    Args:
      sequence: int [N, T]. Sequence of each token.

    Returns:
      bool [N, T]. False on the last token of each sequence and of each row.

    >>> continues(jnp.array([[0, 0, 1, -1]])).tolist()
    [[True, False, False, False]]
    """
    same = sequence[:, :-1] == sequence[:, 1:]
    return jnp.concatenate([same, jnp.zeros_like(sequence[:, :1], bool)], axis=1)


def last(mask: Array, sequence: Array) -> Array:
    """Mark the last token of `mask` in every sequence.

    Args:
      mask: bool [N, T].
      sequence: int [N, T]. Sequence of each token; -1 on padding.

    Returns:
      bool [N, T]. True once per sequence that has a token in the mask.

    >>> last(jnp.array([[True, True, False]]), jnp.array([[0, 0, 0]])).tolist()
    [[False, True, False]]
    """
    decay = jnp.asarray(continues(sequence), float)
    return mask & (decayed_sum(jnp.asarray(mask, float), decay) == 1)


def pool(x: Array, sequence: Array) -> Array:
    """Sum over the tokens of the same row and sequence, given back to each of them.

    Args:
      x: float [N, T]. Finite on tokens; ignored on padding.
      sequence: int [N, T]. Sequence of each token, in contiguous runs; -1 on padding.

    Returns:
      float [N, T]. Equal for all tokens of a sequence; 0 on padding.

    >>> pool(jnp.array([[1.0, 2.0, 5.0]]), jnp.array([[0, 0, 1]])).tolist()
    [[3.0, 3.0, 5.0]]
    """
    forward = jnp.flip(continues(jnp.flip(sequence, 1)), 1)
    totals = decayed_sum(
        jnp.where(sequence >= 0, x, 0.0), continues(sequence).astype(x.dtype)
    )
    # The total stands on the first token of each run; hand it on to the others.
    first = jnp.where(forward, 0.0, totals)
    return jnp.flip(
        decayed_sum(jnp.flip(first, 1), jnp.flip(forward, 1).astype(x.dtype)), 1
    )


def segment_sum(x: Array, group: Array, *, num_groups: int) -> Array:
    """Sum of each group, given back to its members.

    Args:
      x: float [S].
      group: int [S]. Group of each member, in any order.
      num_groups: Ids are below this number.

    Returns:
      float [S].

    >>> x, group = jnp.array([1.0, 2.0, 5.0]), jnp.array([0, 1, 0])
    >>> segment_sum(x, group, num_groups=2).tolist()
    [6.0, 2.0, 6.0]
    """
    return jax.ops.segment_sum(x, group, num_groups)[group]


def segment_count(group: Array, *, num_groups: int) -> Array:
    """Size of each group, given to its members.

    Args:
      group: int [S]. Group of each member.
      num_groups: Ids are below this number.

    Returns:
      float [S], at least 1.

    >>> segment_count(jnp.array([0, 1, 0]), num_groups=2).tolist()
    [2.0, 1.0, 2.0]
    """
    return segment_sum(jnp.ones(group.shape), group, num_groups=num_groups)


def segment_max(x: Array, group: Array, *, num_groups: int) -> Array:
    """Maximum of each group, given back to its members.

    Args:
      x: float [S].
      group: int [S]. Group of each member.
      num_groups: Ids are below this number.

    Returns:
      float [S].

    >>> segment_max(jnp.array([1.0, 2.0]), jnp.array([0, 0]), num_groups=1).tolist()
    [2.0, 2.0]
    """
    return jax.ops.segment_max(x, group, num_groups)[group]


def segment_mean(x: Array, group: Array, *, num_groups: int) -> Array:
    """Mean of each group, given back to its members; exact where all are equal.

    Args:
      x: float [S].
      group: int [S]. Group of each member.
      num_groups: Ids are below this number.

    Returns:
      float [S].

    >>> segment_mean(jnp.array([1.0, 2.0]), jnp.array([0, 0]), num_groups=1).tolist()
    [1.5, 1.5]
    """
    # Three times 0.1 over 3 isn't 0.1; distances to the maximum are exactly 0.
    peak = segment_max(x, group, num_groups=num_groups)
    below = segment_sum(x - peak, group, num_groups=num_groups)
    return peak + below / segment_count(group, num_groups=num_groups).astype(x.dtype)


def segment_std(x: Array, group: Array, *, num_groups: int, ddof: int = 1) -> Array:
    """Standard deviation of each group, given back to its members.

    Args:
      x: float [S].
      group: int [S]. Group of each member.
      num_groups: Ids are below this number.
      ddof: Subtracted from the size of the group; 1 is the unbiased variance.

    Returns:
      float [S]. 0 where a group has no more than `ddof` members.

    >>> x, group = jnp.array([1.0, 3.0]), jnp.array([0, 0])
    >>> segment_std(x, group, num_groups=1, ddof=0).tolist()
    [1.0, 1.0]
    """
    centred = x - segment_mean(x, group, num_groups=num_groups)
    squares = segment_sum(centred**2, group, num_groups=num_groups)
    count = segment_count(group, num_groups=num_groups).astype(x.dtype)
    return jnp.sqrt(squares / jnp.maximum(count - ddof, 1.0))
