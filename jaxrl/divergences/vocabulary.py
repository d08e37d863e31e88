"""Divergences from a teacher over the whole vocabulary, and how to pick K tokens.

They hold [N, T, V] logits, so they are for reference, small vocabularies and tests;
training reads K tokens through `jaxrl.divergences.top_k`.
"""

import chex
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxrl.divergences import top_k
from jaxrl.types import Array, TopK


def forward_kl(logits: Array, teacher_logits: Array) -> Array:
    """KL(teacher || student); its gradient by the student's logits is `q - p`.

    Args:
      logits: float [N, T, V]. The student's; carry gradient.
      teacher_logits: float [N, T, V]. The teacher's; constant.

    Returns:
      float [N, T], nats, at least 0.

    >>> forward_kl(jnp.zeros((1, 1, 4)), jnp.zeros((1, 1, 4))).tolist()
    [[0.0]]
    """
    return top_k.forward_kl(jax.nn.log_softmax(logits), everything(teacher_logits))


def reverse_kl(logits: Array, teacher_logits: Array) -> Array:
    """KL(student || teacher); its gradient is `q * (log q - log p - KL)`.

    Args:
      logits: float [N, T, V]. The student's; carry gradient.
      teacher_logits: float [N, T, V]. The teacher's; constant.

    Returns:
      float [N, T], nats, at least 0; inf where the teacher excludes a token.

    >>> reverse_kl(jnp.zeros((1, 1, 4)), jnp.zeros((1, 1, 4))).tolist()
    [[0.0]]
    """
    return top_k.reverse_kl(jax.nn.log_softmax(logits), everything(teacher_logits))


def jensen_shannon(logits: Array, teacher_logits: Array, *, beta: float = 0.5) -> Array:
    """Generalised Jensen-Shannon divergence; see `top_k.jensen_shannon`.

    Args:
      logits: float [N, T, V]. The student's; carry gradient.
      teacher_logits: float [N, T, V]. The teacher's; constant.
      beta: Weight of the teacher in the mixture; 0 is the forward, 1 the reverse KL.

    Returns:
      float [N, T], nats, at least 0.

    >>> jensen_shannon(jnp.zeros((1, 1, 4)), jnp.zeros((1, 1, 4))).round(6).tolist()
    [[0.0]]
    """
    logp = jax.nn.log_softmax(logits)
    return top_k.jensen_shannon(logp, everything(teacher_logits), beta=beta)


def everything(teacher_logits: Array) -> TopK:
    """The whole vocabulary as the teacher's top tokens, K = V.

    Args:
      teacher_logits: float [N, T, V].

    Returns:
      All ids in order, constant.

    >>> everything(jnp.zeros((1, 1, 2))).ids.tolist()
    [[[0, 1]]]
    """
    shape = teacher_logits.shape
    ids = jnp.broadcast_to(jnp.arange(shape[-1])[None, None], shape)
    return _among(teacher_logits, ids)


def teacher_top(teacher_logits: Array, *, k: int) -> TopK:
    """The teacher's k likeliest tokens.

    Args:
      teacher_logits: float [N, T, V].
      k: Number of tokens.

    Returns:
      [N, T, k], in falling order, constant.

    >>> teacher_top(jnp.array([[[0.0, 2.0, 1.0]]]), k=2).ids.tolist()
    [[[1, 2]]]
    """
    return _among(teacher_logits, jax.lax.top_k(teacher_logits, k)[1])


def student_top(logits: Array, teacher_logits: Array, *, k: int) -> TopK:
    """The teacher's view of the student's k likeliest tokens, as OPCD wants it.

    Args:
      logits: float [N, T, V]. The student's; only their order matters.
      teacher_logits: float [N, T, V].
      k: Number of tokens.

    Returns:
      [N, T, k], the teacher's log-probabilities, constant.

    Reference: on-policy context distillation, arXiv:2602.12275.

    >>> x = jnp.array([[[0.0, 2.0, 1.0]]])
    >>> student_top(x, -x, k=1).ids.tolist()
    [[[1]]]
    """
    return _among(teacher_logits, jax.lax.top_k(logits, k)[1])


def union_top(logits: Array, teacher_logits: Array, *, k: int) -> TopK:
    """The teacher's view of its own and of the student's k likeliest tokens.

    Args:
      logits: float [N, T, V]. The student's; only their order matters.
      teacher_logits: float [N, T, V].
      k: Number of tokens of each.

    Returns:
      [N, T, 2 k], constant; tokens that both chose are valid once.

    >>> x = jnp.array([[[0.0, 2.0, 1.0]]])
    >>> union_top(x, x, k=1).valid.tolist()
    [[[True, False]]]
    """
    own = teacher_top(teacher_logits, k=k)
    other = student_top(logits, teacher_logits, k=k)
    known = jnp.any(other.ids[..., :, None] == own.ids[..., None, :], axis=-1)
    both = TopK(*(jnp.concatenate([x, y], -1) for x, y in zip(own, other, strict=True)))
    return both._replace(valid=jnp.concatenate([own.valid, ~known], axis=-1))


def at(logits: Array, ids: Array) -> Array:
    """Log-probabilities of some tokens, normalised over the whole vocabulary.

    Args:
      logits: float [N, T, V].
      ids: int [N, T, K].

    Returns:
      float [N, T, K]; carries gradient.

    >>> at(jnp.zeros((1, 1, 1)), jnp.zeros((1, 1, 1), int)).tolist()
    [[[0.0]]]
    """
    chex.assert_rank([logits, ids], 3)
    return jnp.take_along_axis(jax.nn.log_softmax(logits), ids, axis=-1)


def _among(teacher_logits: Array, ids: Array) -> TopK:
    logp = stop_gradient(at(teacher_logits, ids))
    return TopK(ids, logp, jnp.ones(ids.shape, bool))
