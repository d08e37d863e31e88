"""Decoding rules on attention: PAI's amplification and OPERA's penalty."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from jaxrl.masking import safe_divide
from jaxrl.types import Array

FIRST_TOKENS = 10
"""Response tokens before OPERA looks for columns instead of at the image."""
UNIT = 1e-7
"""OPERA's release keeps products of many attentions in range with this factor."""


def amplified(scores: Array, image: Array, *, weight: float = 0.2) -> Array:
    """Raise the newest query's attention scores on the image: `e + alpha * |e|`.

    Args:
      scores: float [..., Q, U]. Before the softmax, additive masks applied.
      image: bool [U]. Keys of image tokens.
      weight: alpha.

    Returns:
      float [..., Q, U]. Only the last query's row differs.

    Reference: Liu et al., 2024, Paying More Attention to Image (PAI), equation 3,
    arXiv:2407.21771; there for layers 2 to 31.

    >>> image = jnp.array([True, False])
    >>> amplified(jnp.array([[-1.0, 2.0]]), image, weight=0.5).tolist()
    [[-0.5, 2.0]]
    """
    chex.assert_equal(scores.shape[-1], image.shape[0])
    newest = jnp.arange(scores.shape[-2]) == scores.shape[-2] - 1
    chosen = newest[:, None] & image[None, :]
    chosen = jnp.broadcast_to(chosen, scores.shape)
    return jnp.where(chosen, scores + weight * jnp.abs(scores), scores)


class OverTrust(NamedTuple):
    """How much a candidate leans on few earlier tokens of the response.

    Attributes:
      columns: float [..., R]. Product of the attention that each response token has
        received since.
      penalty: float [...]. What to subtract from the candidate's logit.
      rollback: int [...]. The column with the largest product: where to go back to if
        it stays the same for long.
    """

    columns: Array
    penalty: Array
    rollback: Array


def over_trust(
    attention: Array,
    image: Array,
    *,
    start: int,
    scale: float = 50.0,
) -> OverTrust:
    """OPERA's penalty of candidates that trust a summary token more than the image.

    Rows are normalised; `phi(c) = prod over i >= c of scale * w[i, c]` within the
    response. The penalty is the largest column's, or, for the first tokens, minus the
    newest token's attention on the image.

    Args:
      attention: float [..., Q, Q]. Last layer, maximum over heads, of the sequence with
        the candidate as its last token; causal.
      image: bool [Q]. Image tokens.
      start: First token of the response.
      scale: sigma; keeps products of weights around 1.

    Returns:
      Column scores and penalty.

    Reference: Huang et al., 2024, OPERA, equations 3 to 5, arXiv:2311.17911; the factor
    of 1e-7, and what happens to the first tokens, are from the release. Beam search and
    the way back are not included.

    >>> image = jnp.array([True, False])
    >>> attention = jnp.array([[1.0, 0.0], [0.5, 0.5]])
    >>> float(over_trust(attention, image, start=1).penalty)
    -0.5
    """
    chex.assert_equal(attention.shape[-1], image.shape[0])
    total = jnp.sum(attention, axis=-1, keepdims=True)
    attention = safe_divide(attention, total)
    block = scale * attention[..., start:, start:]
    size = block.shape[-1]
    later = jnp.arange(size)[:, None] >= jnp.arange(size)[None, :]
    later = jnp.broadcast_to(later, block.shape)
    columns = UNIT * jnp.prod(jnp.where(later, block, 1.0), axis=-2)
    newest = attention[..., -1, :]
    on_image = jnp.broadcast_to(image, newest.shape)
    seen = jnp.sum(jnp.where(on_image, newest, 0.0), axis=-1)
    penalty = jnp.max(columns, axis=-1) if size > FIRST_TOKENS else -seen
    return OverTrust(columns, penalty, jnp.argmax(columns, axis=-1))


def penalised(logits: Array, trust: OverTrust, *, weight: float = 1.0) -> Array:
    """Subtract the penalty from candidates' logits, `l - alpha * phi`.

    Args:
      logits: float [...]. Of each candidate.
      trust: From `over_trust`, of the same candidates.
      weight: alpha.

    Returns:
      float [...].

    >>> image = jnp.array([True, False])
    >>> trust = over_trust(jnp.array([[1.0, 0.0], [0.5, 0.5]]), image, start=1)
    >>> float(penalised(jnp.array(1.0), trust))
    1.5
    """
    return logits - weight * trust.penalty


def rollback_position(trust: OverTrust, *, size: int) -> Array:
    """The column most candidates and beams point at.

    Args:
      trust: From `over_trust`, of beams and candidates [B, C].
      size: Number of columns R.

    Returns:
      int []. First the most frequent of each beam's candidates, then of the beams; the
      smallest of equally frequent ones.

    >>> zero, columns = jnp.zeros(()), jnp.array([[1, 1, 0], [1, 2, 2]])
    >>> trust = OverTrust(zero, zero, columns)
    >>> int(rollback_position(trust, size=3))
    1
    """

    def mode(columns: Array) -> Array:
        names = jnp.arange(size).reshape(*[1] * columns.ndim, size)
        counts = jnp.sum(columns[..., None] == names, axis=-2)
        return jnp.argmax(counts, axis=-1)

    return mode(mode(trust.rollback))
