"""What every surrogate returns, and the ratio that every one of them starts from.

The log ratio of a token is its own, or one number for its whole sequence: the sum or
the mean over the sequence's tokens in the mask. Functions that can work at any of the
three levels take one of `token_log_ratio`, `sequence_log_ratio`, `mean_log_ratio`.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp

from jaxrl import segments
from jaxrl.masking import safe_divide
from jaxrl.types import Array

Level = Callable[[Array, Array, Array, Array | None], Array]
"""`(logp, old_logp, mask, sequence) -> log ratio [N, T]`, nats."""

LARGEST_LOG_RATIO = 20.0
"""Keeps ratios and their squares finite; beyond it, trust is gone anyway."""


class Surrogate(NamedTuple):
    """How far a token's old data is trusted; constants, no gradient flows through them.

    Attributes:
      value: float [N, T]. What the objective reports, per unit of advantage.
      slope: float [N, T]. Its derivative by logp, at least 0; 1 at ratio 1.
    """

    value: Array
    slope: Array


def importance_ratio(logp: Array, old_logp: Array, mask: Array) -> Array:
    """Ratio of new to old probability, `r = exp(logp - old_logp)`.

    The log ratio is limited to +-20 nats, against overflow only.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the trained policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      mask: bool [N, T]. Tokens that count.

    Returns:
      float [N, T]. 1 outside of the mask.

    >>> ones = jnp.ones((1, 2))
    >>> importance_ratio(ones, ones, jnp.array([[True, False]])).tolist()
    [[1.0, 1.0]]
    """
    return bounded_exp(token_log_ratio(logp, old_logp, mask))


def bounded_exp(log_ratio: Array) -> Array:
    """Exponential of a log ratio, which is limited to +-20 nats.

    Args:
      log_ratio: float [...], nats.

    Returns:
      float [...], finite.

    >>> float(bounded_exp(jnp.float32(0.0)))
    1.0
    """
    return jnp.exp(jnp.clip(log_ratio, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))


def token_log_ratio(
    logp: Array, old_logp: Array, mask: Array, sequence: Array | None = None
) -> Array:
    """Log ratio of each token, `logp - old_logp`.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the newer policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      mask: bool [N, T]. Tokens that count.
      sequence: Not looked at; all levels have the same signature.

    Returns:
      float [N, T], nats. 0 outside of the mask.

    >>> x, mask = jnp.ones((1, 2)), jnp.array([[True, False]])
    >>> token_log_ratio(3.0 * x, x, mask).tolist()
    [[2.0, 0.0]]
    """
    del sequence
    chex.assert_equal_shape([logp, old_logp, mask])
    return jnp.where(mask, logp, 0.0) - jnp.where(mask, old_logp, 0.0)


def sequence_log_ratio(
    logp: Array, old_logp: Array, mask: Array, sequence: Array | None = None
) -> Array:
    """Log ratio of the whole sequence: the sum over its tokens in the mask.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the newer policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      mask: bool [N, T]. Tokens that count.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T], nats. Equal for all tokens of a sequence; 0 outside of the mask.

    >>> x, mask = jnp.ones((1, 2)), jnp.ones((1, 2), bool)
    >>> sequence_log_ratio(3.0 * x, x, mask).tolist()
    [[4.0, 4.0]]
    """
    own = token_log_ratio(logp, old_logp, mask)
    return jnp.where(mask, segments.pool(own, rows_if_none(sequence, mask)), 0.0)


def mean_log_ratio(
    logp: Array, old_logp: Array, mask: Array, sequence: Array | None = None
) -> Array:
    """Mean log ratio of the sequence's tokens: the log of the geometric mean ratio.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t] under the newer policy.
      old_logp: float [N, T]. Under the policy that sampled it.
      mask: bool [N, T]. Tokens that count.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T], nats. Equal for all tokens of a sequence; 0 outside of the mask.

    >>> x, mask = jnp.ones((1, 2)), jnp.ones((1, 2), bool)
    >>> mean_log_ratio(jnp.array([[2.0, 4.0]]), x, mask).tolist()
    [[2.0, 2.0]]
    """
    return sequence_mean_of(token_log_ratio(logp, old_logp, mask), mask, sequence)


def sequence_mean_of(x: Array, mask: Array, sequence: Array | None = None) -> Array:
    """Mean over the tokens of a sequence that are in the mask, given to each of them.

    Args:
      x: float [N, T]. Finite where the mask is.
      mask: bool [N, T]. Tokens that count.
      sequence: int [N, T]. Sequence of each token; None takes a row for a sequence.

    Returns:
      float [N, T]. 0 outside of the mask.

    >>> x, mask = jnp.array([[1.0, 3.0, 9.0]]), jnp.array([[True, True, False]])
    >>> sequence_mean_of(x, mask).tolist()
    [[2.0, 2.0, 0.0]]
    """
    sequence = rows_if_none(sequence, mask)
    total = segments.pool(jnp.where(mask, x, 0.0), sequence)
    length = segments.pool(mask.astype(x.dtype), sequence)
    return jnp.where(mask, safe_divide(total, length), 0.0)


def rows_if_none(sequence: Array | None, mask: Array) -> Array:
    """Take a row for a sequence where none are given.

    Args:
      sequence: int [N, T] or None.
      mask: bool [N, T]. Gives the shape.

    Returns:
      int [N, T].

    >>> rows_if_none(None, jnp.ones((1, 2), bool)).tolist()
    [[0, 0]]
    """
    return jnp.zeros_like(mask, int) if sequence is None else sequence
