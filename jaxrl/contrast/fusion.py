"""Decoding rules that contrast the logits of one token under several inputs.

A rule maps logits [..., V] of the true input and of altered ones (another view of the
image, no image) to scores [..., V], which are then divided by the temperature and
sampled from. Tokens that the true input finds implausible score -inf.
"""

import math

import chex
import jax
import jax.numpy as jnp

from jaxrl.types import Array


def plausible(logits: Array, *, share: float) -> Array:
    """Tell which tokens have at least a share of the best token's probability.

    `logit >= log(share) + max logit`, which is `p >= share * max p`.

    Args:
      logits: float [..., V]. Of the true input, before temperature.
      share: beta, 0 to 1; 0 finds everything plausible.

    Returns:
      bool [..., V].

    Reference: Li et al., 2023, Contrastive Decoding, equation 2, arXiv:2210.15097.

    >>> plausible(jnp.array([2.0, 1.8, 0.5]), share=0.4).tolist()
    [True, True, False]
    """
    best = jnp.max(logits, axis=-1, keepdims=True)
    return logits >= (math.log(share) if share else -math.inf) + best


def kept(scores: Array, logits: Array, *, share: float) -> Array:
    """Scores of plausible tokens; -inf for the others.

    Args:
      scores: float [..., V].
      logits: float [..., V]. Of the true input; decide what is plausible.
      share: See `plausible`.

    Returns:
      float [..., V].

    >>> logits = jnp.array([2.0, 0.0])
    >>> kept(logits, logits, share=0.5).tolist()
    [2.0, -inf]
    """
    chex.assert_equal_shape([scores, logits])
    return jnp.where(plausible(logits, share=share), scores, -jnp.inf)


def pnd(
    logits: Array,
    positive: Array,
    negative: Array,
    *,
    positive_weight: float = 2.2,
    negative_weight: float = 0.4,
    share: float = 0.4,
) -> Array:
    """Positive-and-negative decoding: `l + alpha * l_pos - gamma * l_neg`.

    Args:
      logits: float [..., V]. Of the original image.
      positive: float [..., V]. Of a view in which the evidence is amplified.
      negative: float [..., V]. Of a view in which the evidence is destroyed.
      positive_weight: alpha.
      negative_weight: gamma.
      share: beta, see `plausible`.

    Returns:
      float [..., V]. Scores; -inf where implausible.

    Reference: Breaking the Illusion: When Positive Meets Negative in Multimodal
    Decoding (PND), 2026, arXiv:2605.06679. Differs from the paper: its mask, read
    literally, leaves implausible tokens at 0; ours and the release's is -inf. Differs
    from the release: it leaves out `l` (LLaVA) or reverses both signs (InternVL).

    >>> logits = jnp.array([1.0, 1.0])
    >>> pnd(logits, logits, logits, positive_weight=1.0, negative_weight=0.5).tolist()
    [1.5, 1.5]
    """
    chex.assert_equal_shape([logits, positive, negative])
    scores = logits + positive_weight * positive - negative_weight * negative
    return kept(scores, logits, share=share)


def vcd(
    logits: Array, distorted: Array, *, weight: float = 1.0, share: float = 0.1
) -> Array:
    """Visual contrastive decoding: `(1 + alpha) * l - alpha * l_distorted`.

    Args:
      logits: float [..., V]. Of the true image.
      distorted: float [..., V]. Of the image under noise.
      weight: alpha.
      share: beta, see `plausible`.

    Returns:
      float [..., V]. Scores; -inf where implausible.

    Reference: Leng et al., 2024, Mitigating Object Hallucinations in Large
    Vision-Language Models through Visual Contrastive Decoding, equations 3 and 4,
    arXiv:2311.16922.

    >>> vcd(jnp.array([1.0, 1.0]), jnp.array([0.0, 2.0])).tolist()
    [2.0, 0.0]
    """
    chex.assert_equal_shape([logits, distorted])
    scores = (1.0 + weight) * logits - weight * distorted
    return kept(scores, logits, share=share)


def agla(
    logits: Array, augmented: Array, *, weight: float = 2.0, share: float = 0.5
) -> Array:
    """Assembly of global and local attention: `l + alpha * l_augmented`.

    Args:
      logits: float [..., V]. Of the true image.
      augmented: float [..., V]. Of the image reduced to what the question is about.
      weight: alpha.
      share: beta, see `plausible`.

    Returns:
      float [..., V]. Scores; -inf where implausible.

    Reference: An et al., 2024, AGLA, arXiv:2406.12718.

    >>> agla(jnp.array([1.0, 1.0]), jnp.array([0.0, 2.0])).tolist()
    [1.0, 5.0]
    """
    chex.assert_equal_shape([logits, augmented])
    return kept(logits + weight * augmented, logits, share=share)


def pai(
    logits: Array, textual: Array, *, scale: float = 1.1, share: float = 0.1
) -> Array:
    """Guidance away from the text alone: `gamma * (s - s_text) + s_text`.

    `s` are log-probabilities. The rule's other half is `attention.amplified`.

    Args:
      logits: float [..., V]. With the image.
      textual: float [..., V]. Without the image.
      scale: gamma; 1 is the ordinary distribution of plausible tokens.
      share: See `plausible`.

    Returns:
      float [..., V]. Scores; -inf where implausible.

    Reference: Liu et al., 2024, Paying More Attention to Image, equation 5,
    arXiv:2407.21771. Differs from the release: at scale 1 it doesn't mask.

    >>> same = jnp.zeros(2)
    >>> jnp.exp(pai(same, same)).tolist()
    [0.5, 0.5]
    """
    chex.assert_equal_shape([logits, textual])
    own, other = jax.nn.log_softmax(logits), jax.nn.log_softmax(textual)
    return kept(scale * (own - other) + other, own, share=share)


def m3id(
    logits: Array,
    textual: Array,
    *,
    index: int | Array,
    threshold: float = 0.3,
    decay: float = 0.02,
) -> Array:
    """Strengthen the image the further a response goes on without certainty.

    `s + 1[max p < threshold] * (1 - e^(-k t)) / e^(-k t) * (s - s_text)`.

    Args:
      logits: float [..., V]. With the image.
      textual: float [..., V]. Without the image.
      index: Number t of the generated token.
      threshold: The most likely token's probability above which nothing changes.
      decay: How fast the image is forgotten; k.

    Returns:
      float [..., V]. Scores.

    Reference: Favero et al., 2024, Multi-Modal Hallucination Control by Visual
    Information Grounding (M3ID), arXiv:2403.14003. Reconstruction: restated from
    memory; there is no official code. The threshold is ours.

    >>> same = jnp.zeros(2)
    >>> jnp.exp(m3id(same, same, index=9)).tolist()
    [0.5, 0.5]
    """
    chex.assert_equal_shape([logits, textual])
    own, other = jax.nn.log_softmax(logits), jax.nn.log_softmax(textual)
    unsure = jnp.max(own, axis=-1, keepdims=True) < math.log(threshold)
    weight = jnp.expm1(decay * jnp.asarray(index, logits.dtype))
    return own + jnp.where(unsure, weight * (own - other), 0.0)
