"""Log-probabilities of given tokens without ever holding [N, T, V] logits.

Letters beyond `jaxrl.types`: Q scored positions, E embedding.
"""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp

from jaxrl.layout import positions
from jaxrl.tiles import (
    TILE,
    compact,
    scatter,
    states_of,
    tile_count,
    tile_size,
)
from jaxrl.tiles import tile as tile_at
from jaxrl.truncation import kept_tokens
from jaxrl.types import Array, Batch, Params, Scores
from models.api import Context, LanguageModel


@dataclasses.dataclass(frozen=True)
class Distribution:
    """How logits become the distribution that was sampled from.

    Attributes:
      temperature: Divides the logits.
      top_k: As in `truncation.kept_tokens`.
      top_p: As in `truncation.kept_tokens`.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def score(
    model: LanguageModel,
    params: Params,
    batch: Batch,
    *,
    distribution: Distribution = Distribution(),
    entropy: bool = False,
) -> Scores:
    """Score the batch's sampled tokens under the model.

    The hidden state that predicts `tokens[n, t]` is the one of the token before it, the
    last of the shared prompt where the row continues one. Logits are computed for
    masked-in positions only, a tile at a time.

    Args:
      model: The decoder.
      params: Its parameters; the scores are differentiable in them.
      batch: Tokens [N, T]; `mask` must be False on a sequence's first token unless
        the batch has a prefix.
      distribution: What the tokens were sampled from.
      entropy: Whether to return the entropy.

    Returns:
      Scores with `logp` [N, T], 0 where `batch.mask` is False, `entropy` likewise or
      None, and `top_logp` where the evidence holds a teacher's top k.
    """
    return score_states(
        predicting_states(model, params, batch),
        model.unembedding(params),
        batch,
        distribution=distribution,
        entropy=entropy,
    )


def score_states(
    hidden: Array,
    unembedding: Array,
    batch: Batch,
    *,
    distribution: Distribution = Distribution(),
    entropy: bool = False,
) -> Scores:
    """`score` for whoever has the states that predict each token already.

    Args:
      hidden: float [N, T, E]. From `predicting_states`.
      unembedding: float [V, E].
      batch: As in `score`.
      distribution: As in `score`.
      entropy: As in `score`.

    Returns:
      As `score`.
    """
    rows, length, width = hidden.shape
    ids = batch.tokens[:, :, None]
    top = batch.evidence.teacher_top
    if top is not None:
        ids = jnp.concatenate([ids, top.ids], axis=-1)
    logp, entropies = token_logprobs(
        hidden.reshape(-1, width),
        unembedding,
        ids.reshape(rows * length, -1),
        batch.mask.reshape(-1),
        distribution=distribution,
        entropy=entropy,
    )
    logp = logp.reshape(rows, length, -1)
    return Scores(
        logp=logp[:, :, 0],
        entropy=entropies.reshape(rows, length) if entropy else None,
        top_logp=None if top is None else logp[:, :, 1:],
    )


def predicting_states(model: LanguageModel, params: Params, batch: Batch) -> Array:
    """The hidden state that predicts each token, [N, T, E]; 0 where there is none.

    A shared prefix runs through the model once for all rows that continue it.
    """
    where = positions(batch.sequence)
    prefix = batch.prefix
    if prefix is None:
        hidden, _ = model.forward(params, batch.tokens, where, batch.sequence)
        first = jnp.zeros_like(hidden[:, :1])
        return jnp.concatenate([first, hidden[:, :-1]], axis=1)
    order = jnp.arange(prefix.tokens.shape[1])[None]
    visible = order < prefix.length[:, None]
    prompt, keys = model.forward(
        params,
        prefix.tokens,
        jnp.broadcast_to(order, visible.shape),
        jnp.where(visible, 0, -1),
    )
    shared = batch.tokens.shape[0] // prefix.tokens.shape[0]
    offset = jnp.repeat(prefix.length, shared)[:, None]
    hidden, _ = model.forward(
        params,
        batch.tokens,
        where + offset,
        batch.sequence,
        (Context(keys, visible),),
    )
    last = jnp.maximum(prefix.length - 1, 0)[:, None, None]
    first = jnp.take_along_axis(prompt, last, axis=1)
    return jnp.concatenate([jnp.repeat(first, shared, axis=0), hidden[:, :-1]], axis=1)


def token_logprobs(
    hidden: Array,
    unembedding: Array,
    ids: Array,
    mask: Array,
    *,
    distribution: Distribution = Distribution(),
    entropy: bool = False,
    tile: int = TILE,
) -> tuple[Array, Array]:
    """Log-probabilities of `ids`, and the entropy, at every masked-in position.

    log softmax(hidden @ unembedding.T / temperature)[ids], renormalised over the tokens
    that top-k and top-p keep (a scored id always counts as kept, so that the result is
    finite). Positions are compacted first and scored in tiles of about `tile` logits,
    so time and memory do not depend on how many are masked out; the backward pass
    recomputes each tile. All arithmetic on logits is float32.

    Args:
      hidden: float [Q, E].
      unembedding: float [V, E].
      ids: int32 [Q, K].
      mask: bool [Q]. Positions to score.
      distribution: Temperature and truncation; what is kept is a constant.
      entropy: Whether the entropy is needed; costs a pass over the logits.
      tile: Logits to hold at once.

    Returns:
      float32 [Q, K] log-probabilities and float32 [Q] entropies in nats; 0 where masked
      out, and entropy 0 everywhere if not asked for. Differentiable in `hidden` and
      `unembedding`; NaN at masked-out positions has no effect.

    >>> logp, _ = token_logprobs(jnp.zeros((1, 2)), jnp.zeros((4, 2)),
    ...     jnp.array([[3]]), jnp.array([True]))
    >>> round(float(jnp.exp(logp[0, 0])), 6)
    0.25
    """
    chex.assert_rank([hidden, unembedding, ids, mask], [2, 2, 2, 1])
    chex.assert_equal_shape_prefix([hidden, ids, mask], 1)
    size = tile_size(hidden.shape[0], unembedding.shape[0], tile)
    plan = _Plan(distribution, entropy, size)
    # A batch from the host holds NumPy arrays, which a traced index can't read.
    return _token_logprobs(
        plan, hidden, unembedding, jnp.asarray(ids), jnp.asarray(mask)
    )


@dataclasses.dataclass(frozen=True)
class _Plan:
    distribution: Distribution
    entropy: bool
    chunk: int


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _token_logprobs(
    plan: _Plan, hidden: Array, unembedding: Array, ids: Array, mask: Array
) -> tuple[Array, Array]:
    return _forward(plan, hidden, unembedding, ids, mask)[0]


def _forward(
    plan: _Plan, hidden: Array, unembedding: Array, ids: Array, mask: Array
) -> tuple[tuple[Array, Array], tuple]:
    order, count = compact(mask, plan.chunk)

    def body(i: Array, out: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, live = tile_at(order, count, plan.chunk, i)
        states = states_of(hidden, rows, live)
        log_probs, _ = _log_probs(plan, states, unembedding, ids[rows])
        logp = jnp.take_along_axis(log_probs, ids[rows], axis=-1)
        h = _entropy(log_probs) if plan.entropy else jnp.zeros_like(logp[:, 0])
        start = i * plan.chunk
        return (
            jax.lax.dynamic_update_slice(out[0], logp, (start, 0)),
            jax.lax.dynamic_update_slice(out[1], h, (start,)),
        )

    out = (
        jnp.zeros((order.size, ids.shape[1]), jnp.float32),
        jnp.zeros(order.size, jnp.float32),
    )
    logp, h = jax.lax.fori_loop(0, tile_count(count, plan.chunk), body, out)
    logp = scatter(logp, order, mask)
    return (logp, scatter(h, order, mask)), (hidden, unembedding, ids, mask)


def _backward(plan: _Plan, residuals: tuple, grads: tuple) -> tuple:
    hidden, unembedding, ids, mask = residuals
    order, count = compact(mask, plan.chunk)

    def body(i: Array, out: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, live = tile_at(order, count, plan.chunk, i)
        states = states_of(hidden, rows, live)
        log_probs, kept = _log_probs(plan, states, unembedding, ids[rows])
        g_logp = jnp.where(live, grads[0][rows], 0.0)
        probs = jnp.exp(log_probs)
        g_logits = -probs * jnp.sum(g_logp, axis=-1, keepdims=True)
        if plan.entropy:
            g_entropy = jnp.where(live, grads[1][rows][:, None], 0.0)
            h = _entropy(log_probs)[:, None]
            safe = jnp.where(kept, log_probs, 0.0)
            g_logits -= g_entropy * probs * (safe + h)
        line = jnp.arange(plan.chunk)[:, None]
        g_logits = g_logits.at[line, ids[rows]].add(g_logp)
        g_logits = (g_logits / plan.distribution.temperature).astype(hidden.dtype)
        g_states = g_logits @ unembedding.astype(hidden.dtype)
        g_matrix = out[1] + jnp.einsum(
            "qv,qe->ve", g_logits, states, preferred_element_type=jnp.float32
        )
        start = i * plan.chunk
        return jax.lax.dynamic_update_slice(out[0], g_states, (start, 0)), g_matrix

    out = (
        jnp.zeros((order.size, hidden.shape[1]), hidden.dtype),
        jnp.zeros(unembedding.shape, jnp.float32),
    )
    g_hidden, g_matrix = jax.lax.fori_loop(0, tile_count(count, plan.chunk), body, out)
    g_hidden = scatter(g_hidden, order, mask)
    return g_hidden, g_matrix.astype(unembedding.dtype), None, None


_token_logprobs.defvjp(_forward, _backward)


def _log_probs(
    plan: _Plan, states: Array, unembedding: Array, ids: Array
) -> tuple[Array, Array]:
    """Log-probabilities [chunk, V], -inf where not kept, and what is kept."""
    logits = jnp.einsum(
        "qe,ve->qv",
        states,
        unembedding.astype(states.dtype),
        preferred_element_type=jnp.float32,
    )
    logits = logits / plan.distribution.temperature
    rule = plan.distribution
    kept = kept_tokens(logits, top_k=rule.top_k, top_p=rule.top_p)
    if rule.top_k or rule.top_p < 1.0:
        kept = kept.at[jnp.arange(ids.shape[0])[:, None], ids].set(True)
        logits = jnp.where(kept, logits, -jnp.inf)
    return jax.nn.log_softmax(logits, axis=-1), kept


def _entropy(log_probs: Array) -> Array:
    safe = jnp.where(log_probs == -jnp.inf, 0.0, log_probs)
    return -jnp.sum(jnp.exp(log_probs) * safe, axis=-1)
