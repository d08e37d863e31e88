"""SCOPE's routes: right answers are imitated, the teacher corrects wrong ones."""

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.masking import safe_divide
from jaxrl.types import Array


def sequence_sums(
    x: Array, sequence: Array, mask: Array, *, num_sequences: int
) -> Array:
    """Sum of each sequence's tokens; the opposite of `groups.spread`.

    Args:
      x: float [N, T].
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      mask: bool [N, T]. Tokens that count.
      num_sequences: Ids are below this number; S.

    Returns:
      float [S]. 0 for a sequence without tokens in the mask.

    >>> x, sequence = jnp.array([[1.0, 2.0, 5.0]]), jnp.array([[0, 0, 1]])
    >>> sequence_sums(x, sequence, sequence >= 0, num_sequences=2).tolist()
    [3.0, 5.0]
    """
    chex.assert_equal_shape([x, sequence, mask])
    # Select and sum, not a scatter: rows may be sharded, and XLA fuses the comparison.
    own = sequence[:, :, None] == jnp.arange(num_sequences)[None, None, :]
    own &= mask[:, :, None]
    return jnp.sum(jnp.where(own, x[:, :, None], 0.0), axis=(0, 1))


def group_softmax(x: Array, member: Array, group: Array, *, num_groups: int) -> Array:
    """Softmax over the members of each group: `exp(x) / sum_g exp(x)`.

    Args:
      x: float [S]. Anything where `member` is False.
      member: bool [S]. Sequences that share the mass of their group.
      group: int [S]. Group of each sequence.
      num_groups: Ids are below this number.

    Returns:
      float [S]. Sums to 1 over the members of a group, 0 for the others.

    >>> x, group = jnp.zeros(3), jnp.zeros(3, int)
    >>> group_softmax(x, jnp.array([True, True, False]), group, num_groups=1).tolist()
    [0.5, 0.5, 0.0]
    """
    chex.assert_equal_shape([x, member, group])
    low = jnp.where(member, x, -jnp.inf)
    peak = segments.segment_max(low, group, num_groups=num_groups)
    scaled = jnp.exp(jnp.where(member, x - jnp.where(member, peak, 0.0), -jnp.inf))
    return safe_divide(
        scaled, segments.segment_sum(scaled, group, num_groups=num_groups)
    )


def boundary_shares(
    logp: Array,
    member: Array,
    group: Array,
    *,
    num_groups: int,
    temperature: float = 1.0,
) -> Array:
    """Weigh right answers by the student's surprise: `softmax_g(-a / tau)`.

    With `a` the mean log-probability, this is proportional to the student's perplexity
    to the power `1 / tau`: answers at the edge of what it can do weigh most.

    Args:
      logp: float [S]. Mean log-probability of the sequence under the old student, a.
      member: bool [S]. Right answers that have tokens.
      group: int [S]. Prompt of each sequence.
      num_groups: Ids are below this number.
      temperature: Large values weigh all alike; tau.

    Returns:
      float [S]. Sums to 1 over the members of a group, 0 for the others.

    Reference: SCOPE, equation 4, arXiv:2604.10688. Differs from the release, whose
    flags reverse the sign and weigh the least surprising answers most.

    >>> logp, group = jnp.log(jnp.array([0.75, 0.25])), jnp.zeros(2, int)
    >>> print(boundary_shares(logp, group == 0, group, num_groups=1).round(2))
    [0.25 0.75]
    """
    return group_softmax(-logp / temperature, member, group, num_groups=num_groups)


def recoverable_shares(
    teacher_logp: Array,
    member: Array,
    group: Array,
    *,
    num_groups: int,
    temperature: float = 1.0,
) -> Array:
    """Weigh wrong answers by what the teacher can still recover: `softmax_g(b / tau)`.

    With `b` the mean log-probability, this is inversely proportional to the teacher's
    perplexity to the power `1 / tau`.

    Args:
      teacher_logp: float [S]. Mean log-probability under the teacher, b.
      member: bool [S]. Wrong answers that have tokens.
      group: int [S]. Prompt of each sequence.
      num_groups: Ids are below this number.
      temperature: Large values weigh all alike; tau.

    Returns:
      float [S]. Sums to 1 over the members of a group, 0 for the others.

    Reference: SCOPE, equation 5, arXiv:2604.10688.

    >>> logp, group = jnp.log(jnp.array([0.75, 0.25])), jnp.zeros(2, int)
    >>> print(recoverable_shares(logp, group == 0, group, num_groups=1).round(2))
    [0.75 0.25]
    """
    return group_softmax(
        teacher_logp / temperature, member, group, num_groups=num_groups
    )


def class_sizes(member: Array, group: Array, *, num_groups: int) -> Array:
    """Number of members in the group of each sequence.

    Args:
      member: bool [S].
      group: int [S]. Group of each sequence.
      num_groups: Ids are below this number.

    Returns:
      float [S].

    >>> class_sizes(jnp.array([True, False]), jnp.array([0, 0]), num_groups=1).tolist()
    [1.0, 1.0]
    """
    return segments.segment_sum(
        jnp.asarray(member, float), group, num_groups=num_groups
    )
