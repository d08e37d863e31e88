"""Grouped-query attention over the new tokens and any number of earlier contexts."""

import jax
import jax.numpy as jnp

from models.api import Array, Context

# Finite, so that a row that may see nothing gets a finite result and gradient.
HIDDEN = -1e30


def attend(
    query: Array,
    key: Array,
    value: Array,
    segments: Array,
    contexts: tuple[Context, ...] = (),
) -> Array:
    """Attend to the row's earlier tokens of the same segment and to all contexts.

    One softmax runs over everything that is visible, in float32.

    Args:
      query: float [N, T, H, D].
      key: float [N, T, J, D]; J divides H.
      value: float [N, T, J, D].
      segments: int32 [N, T]; -1 is padding.
      contexts: One layer's contexts: keys and values [R, U, J, D], R divides N.

    Returns:
      float [N, T, H, D].
    """
    rows, length, heads, dim = query.shape
    groups = heads // key.shape[2]
    query = query.reshape(rows, length, key.shape[2], groups, dim) * dim**-0.5
    order = jnp.arange(length)
    earlier = order[None, :, None] >= order[None, None, :]
    visible = (segments[:, :, None] == segments[:, None, :]) & earlier
    scores = [
        jnp.where(
            visible[:, None, None],
            jnp.einsum(
                "ntjgd,nsjd->njgts", query, key, preferred_element_type=jnp.float32
            ),
            HIDDEN,
        )
    ]
    scores += [_context_scores(query, context) for context in contexts]
    probs = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1)
    probs = probs.astype(value.dtype)
    out = jnp.einsum("njgts,nsjd->ntjgd", probs[..., :length], value)
    start = length
    for context in contexts:
        size = context.visible.shape[1]
        out += _context_values(probs[..., start : start + size], context)
        start += size
    return out.reshape(rows, length, heads, dim)


def _context_scores(query: Array, context: Context) -> Array:
    """Scores [N, J, H // J, T, U] of queries [N, T, J, H // J, D]."""
    rows, length, kv_heads, groups, dim = query.shape
    shared = context.visible.shape[0]
    query = query.reshape(shared, rows // shared, length, kv_heads, groups, dim)
    scores = jnp.einsum(
        "rntjgd,rujd->rnjgtu",
        query,
        context.keys.key,
        preferred_element_type=jnp.float32,
    )
    scores = jnp.where(context.visible[:, None, None, None, None, :], scores, HIDDEN)
    return scores.reshape(rows, kv_heads, groups, length, -1)


def _context_values(probs: Array, context: Context) -> Array:
    """Values [N, T, J, H // J, D] weighted by probs [N, J, H // J, T, U]."""
    rows, kv_heads, groups, length, size = probs.shape
    shared = context.visible.shape[0]
    probs = probs.reshape(shared, rows // shared, kv_heads, groups, length, size)
    out = jnp.einsum("rnjgtu,rujd->rntjgd", probs, context.keys.value)
    return out.reshape(rows, length, kv_heads, groups, -1)
