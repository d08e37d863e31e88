"""Divergences from a teacher over K tokens of the vocabulary.

All take the student's log-probabilities of `top.ids` and the teacher's, so training
never needs [N, T, V]. The ids may be the teacher's likeliest (AOPD, GKD), the old
student's (OPCD) or the whole vocabulary: whoever makes `top` chooses.

K tokens don't sum to 1. Left as they are, a divergence may be negative; `renormalised`
and `with_tail` close the distribution first: `forward_kl(*with_tail(logp, top))`.
"""

import math

import chex
import jax
import jax.numpy as jnp

from jaxrl.masking import masked_sum
from jaxrl.types import Array, TopK

LARGEST_LOG_MASS = -1e-7
"""Of the K tokens together, so that the tail keeps a finite logarithm."""


def forward_kl(logp: Array, top: TopK) -> Array:
    """`sum_v p (log p - log q)` over the K tokens: KL(teacher || student).

    Its gradient by the student's logits is `q * sum(p) - p`: it covers all modes of the
    teacher. The minimiser is `p / sum(p)` on the K tokens.

    Args:
      logp: float [N, T, K]. Student's log-probability of `top.ids`, log q.
      top: The teacher's, [N, T, K]; constant. A log-probability of -inf adds nothing.

    Returns:
      float [N, T], nats; of either sign unless the K tokens have all the mass.

    Reference: Agarwal et al., 2024, On-Policy Distillation of Language Models (GKD),
    section 2, arXiv:2306.13649.

    >>> one = jnp.ones((1, 1, 1))
    >>> top = TopK(one.astype(int), 0.0 * one, one > 0)
    >>> forward_kl(-2.0 * one, top).tolist()
    [[2.0]]
    """
    live = top.valid & (top.logp > -jnp.inf)
    logp, teacher = _masked(logp, top.logp, live)
    return masked_sum(jnp.exp(teacher) * (teacher - logp), live, axis=-1)


def reverse_kl(logp: Array, top: TopK) -> Array:
    """`sum_v q (log q - log p)` over the K tokens: KL(student || teacher).

    Its gradient is that of the reverse KL restricted to these tokens; with all of the
    vocabulary it is `q * (log q - log p - KL)`. It seeks one mode of the teacher.

    Args:
      logp: float [N, T, K]. Student's log-probability of `top.ids`, log q.
      top: The teacher's, [N, T, K]; constant and finite where valid.

    Returns:
      float [N, T], nats; of either sign unless the K tokens have all the mass.

    Reference: Gu et al., 2024, MiniLLM, equation 1, arXiv:2306.08543.

    >>> one = jnp.ones((1, 1, 1))
    >>> top = TopK(one.astype(int), -2.0 * one, one > 0)
    >>> reverse_kl(0.0 * one, top).tolist()
    [[2.0]]
    """
    live = top.valid & (logp > -jnp.inf)
    logp, teacher = _masked(logp, top.logp, live)
    return masked_sum(jnp.exp(logp) * (logp - teacher), live, axis=-1)


def mixed_kl(logp: Array, top: TopK, *, forward: float = 1.0) -> Array:
    """`forward * KL(teacher || student) + (1 - forward) * KL(student || teacher)`.

    The gradient is the same mix of the gradients of `forward_kl` and `reverse_kl`.

    Args:
      logp: float [N, T, K]. Student's log-probability of `top.ids`.
      top: The teacher's, [N, T, K]; constant.
      forward: Share of the forward KL; AOPD's beta. Its 1 is the 0 of `jensen_shannon`.

    Returns:
      float [N, T], nats.

    Reference: the AOPD release (arXiv:2605.06387); the paper has the forward KL alone.

    >>> one = jnp.ones((1, 1, 1))
    >>> top = TopK(one.astype(int), 0.0 * one, one > 0)
    >>> mixed_kl(-2.0 * one, top, forward=1.0).tolist()
    [[2.0]]
    """
    reverse = (1.0 - forward) * reverse_kl(logp, top)
    return forward * forward_kl(logp, top) + reverse


def jensen_shannon(logp: Array, top: TopK, *, beta: float = 0.5) -> Array:
    """Generalised Jensen-Shannon divergence to the mixture `M = beta p + (1-beta) q`.

    `beta KL(p || M) + (1 - beta) KL(q || M)` for teacher p and student q; by convention
    the forward KL at beta 0 and the reverse KL at beta 1, where the formula is 0. The
    gradient goes from that of the forward to that of the reverse KL (times beta, or
    1 - beta, near the ends).

    Args:
      logp: float [N, T, K]. Student's log-probability of `top.ids`, log q.
      top: The teacher's, [N, T, K]; constant.
      beta: Weight of the teacher in the mixture.

    Returns:
      float [N, T], nats; at least 0 if the K tokens have all the mass.

    Reference: Agarwal et al., 2024, On-Policy Distillation of Language Models (GKD),
    section 2, arXiv:2306.13649.

    >>> one = jnp.ones((1, 1, 1))
    >>> top = TopK(one.astype(int), 0.0 * one, one > 0)
    >>> jensen_shannon(0.0 * one, top).tolist()
    [[0.0]]
    """
    if beta == 0:
        return forward_kl(logp, top)
    if beta == 1:
        return reverse_kl(logp, top)
    teacher = top.logp
    live = top.valid & (logp > -jnp.inf) & (teacher > -jnp.inf)
    student, other = _masked(logp, teacher, live)
    mixture = jnp.logaddexp(other + math.log(beta), student + math.log1p(-beta))
    both = beta * jnp.exp(other) * (other - mixture)
    both += (1.0 - beta) * jnp.exp(student) * (student - mixture)
    # Where one side is impossible, only the other one's logarithm is left.
    alone = -beta * math.log(beta) * jnp.exp(jnp.where(top.valid, teacher, -jnp.inf))
    mine = (
        -(1.0 - beta)
        * math.log1p(-beta)
        * jnp.exp(jnp.where(top.valid, logp, -jnp.inf))
    )
    return jnp.sum(jnp.where(live, both, alone + mine), axis=-1)


def as_given(logp: Array, top: TopK) -> tuple[Array, TopK]:
    """Leave the K tokens as they are, with less than all of the mass.

    Args:
      logp: float [N, T, K]. Student's log-probability of `top.ids`.
      top: The teacher's, [N, T, K].

    Returns:
      Both, unchanged.

    >>> one = jnp.ones((1, 1, 1))
    >>> top = TopK(one.astype(int), 0.0 * one, one > 0)
    >>> as_given(top.logp, top)[0].tolist()
    [[[0.0]]]
    """
    return logp, top


def renormalised(logp: Array, top: TopK) -> tuple[Array, TopK]:
    """Condition both distributions on the K tokens: divide by their mass.

    The student's mass outside of them gets no gradient.

    Args:
      logp: float [N, T, K]. Student's log-probability of `top.ids`.
      top: The teacher's, [N, T, K].

    Returns:
      Both, each summing to 1 over the valid tokens.

    >>> one = jnp.ones((1, 1, 1))
    >>> top = TopK(one.astype(int), 0.0 * one, one > 0)
    >>> renormalised(-2.0 * one, top)[0].tolist()
    [[[0.0]]]
    """
    student, teacher = (
        jnp.where(top.valid, x - _log_mass(x, top.valid), 0.0) for x in (logp, top.logp)
    )
    return student, top._replace(logp=teacher)


def with_tail(logp: Array, top: TopK) -> tuple[Array, TopK]:
    """Add one outcome that holds the mass of all other tokens.

    The gradient flows through the tail, so mass outside of the K tokens is seen.

    Args:
      logp: float [N, T, K]. Student's log-probability of `top.ids`.
      top: The teacher's, [N, T, K].

    Returns:
      Both with K + 1 outcomes; the last has id -1.

    >>> one = jnp.ones((1, 1, 1))
    >>> top = TopK(one.astype(int), jnp.log(0.75 * one), one > 0)
    >>> print(jnp.exp(with_tail(top.logp, top)[0]).round(2))
    [[[0.75 0.25]]]
    """

    def extend(x: Array) -> Array:
        mass = jnp.minimum(_log_mass(x, top.valid), LARGEST_LOG_MASS)
        return jnp.concatenate([x, jnp.log(-jnp.expm1(mass))], axis=-1)

    rest = jnp.full_like(top.ids[..., :1], -1)
    ids = jnp.concatenate([top.ids, rest], axis=-1)
    valid = jnp.concatenate([top.valid, jnp.ones_like(top.valid[..., :1])], axis=-1)
    return extend(logp), TopK(ids, extend(top.logp), valid)


def _log_mass(x: Array, valid: Array) -> Array:
    """Log of the mass of the valid tokens, [N, T, 1]; very small if there is none."""
    x = jnp.where(valid, x, -1e9)
    return jax.nn.logsumexp(x, axis=-1, keepdims=True)


def _masked(logp: Array, teacher: Array, live: Array) -> tuple[Array, Array]:
    chex.assert_equal_shape([logp, teacher, live])
    return jnp.where(live, logp, 0.0), jnp.where(live, teacher, 0.0)
