"""Work over masked-in positions, a tile at a time, so that memory has a bound.

Positions are compacted first, masked-in ones in front: what is masked out costs
nothing. Letters: Q positions.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import Array

# Logits alive at once. Large enough to fill the matrix units, small next to a layer's
# activations: 64 MiB of float32.
TILE = 2**24


def tile_size(positions: int, vocab: int, tile: int = TILE) -> int:
    """Positions of a tile whose logits over `vocab` tokens number about `tile`."""
    return max(1, min(tile // vocab, positions))


def compact(mask: Array, size: int) -> tuple[Array, Array]:
    """Order positions with masked-in ones first, filled up to whole tiles.

    The filling repeats position Q, which no array has: reads clamp, writes drop.

    Args:
      mask: bool [Q].
      size: Positions of a tile.

    Returns:
      The order, int32 [a multiple of `size`], and the number of masked-in positions.
    """
    positions = mask.shape[0]
    order = jnp.argsort(~mask, stable=True)
    fill = jnp.full(-positions % size, positions, order.dtype)
    return jnp.concatenate([order, fill]), jnp.sum(mask)


def tile_count(count: Array, size: int) -> Array:
    """Tiles that hold masked-in positions, int32 []."""
    return (count + size - 1) // size


def tile(order: Array, count: Array, size: int, i: Array) -> tuple[Array, Array]:
    """Positions [size] of tile i, and which of them are masked in, bool [size, 1]."""
    start = i * size
    rows = jax.lax.dynamic_slice(order, (start,), (size,))
    return rows, (start + jnp.arange(size) < count)[:, None]


def states_of(hidden: Array, rows: Array, live: Array) -> Array:
    """Hidden states [size, E] of a tile, 0 where not masked in."""
    return jnp.where(live, hidden.at[rows].get(mode="clip"), 0)


def scatter(compacted: Array, order: Array, mask: Array) -> Array:
    """Undo `compact`, with 0 at masked-out positions."""
    out = jnp.zeros((mask.size, *compacted.shape[1:]), compacted.dtype)
    out = out.at[order].set(compacted, mode="drop", unique_indices=True)
    return jnp.where(mask.reshape((-1,) + (1,) * (out.ndim - 1)), out, 0)
