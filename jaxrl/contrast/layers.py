"""Decoding that contrasts the last layer with an earlier one (DoLa).

`final` are logits of the last layer, `early` those that the unembedding gives to the
hidden states of L earlier layers.
"""

import chex
import jax
import jax.numpy as jnp

from jaxrl.contrast.fusion import kept, plausible
from jaxrl.types import Array


def layer_divergence(final: Array, early: Array) -> Array:
    """Jensen-Shannon divergence of each early layer from the last one.

    Args:
      final: float [..., V]. Logits.
      early: float [L, ..., V]. Logits.

    Returns:
      float [L, ...], nats, 0 to log 2.

    Reference: Chuang et al., 2024, DoLa, equation 2, arXiv:2309.03883. Differs from the
    release: it swaps the arguments of both KL terms and averages over the vocabulary.

    >>> layer_divergence(jnp.zeros(2), jnp.zeros((1, 2))).tolist()
    [0.0]
    """
    chex.assert_equal_shape([final, early[0]])
    last, first = jax.nn.log_softmax(final)[None], jax.nn.log_softmax(early)
    middle = jnp.logaddexp(last, first) - jnp.log(2.0).astype(final.dtype)

    def kl(s: Array) -> Array:
        return jnp.sum(jnp.exp(s) * (s - middle), axis=-1)

    return 0.5 * (kl(last) + kl(first))


def dola_static(final: Array, early: Array, *, share: float = 0.1) -> Array:
    """Contrast the last layer with a given one: `s_final - s_early`.

    Args:
      final: float [..., V]. Logits.
      early: float [..., V]. Logits of the earlier layer.
      share: Tokens with less than this share of the best one's probability score
        -inf.

    Returns:
      float [..., V].

    Reference: Chuang et al., 2024, DoLa, equations 3 to 5, arXiv:2309.03883.

    >>> dola_static(jnp.zeros(2), jnp.zeros(2)).tolist()
    [0.0, 0.0]
    """
    chex.assert_equal_shape([final, early])
    own = jax.nn.log_softmax(final)
    return kept(own - jax.nn.log_softmax(early), own, share=share)


def dola(final: Array, early: Array, *, share: float = 0.1) -> tuple[Array, Array]:
    """Contrast the last layer with the one that differs most from it, token by token.

    Args:
      final: float [..., V]. Logits.
      early: float [L, ..., V]. Logits.
      share: See `dola_static`.

    Returns:
      Scores, float [..., V], and the layer chosen for each position, int [...].

    Reference: Chuang et al., 2024, DoLa, equations 2 to 5, arXiv:2309.03883. Differs
    from the release: it chooses one layer for the whole batch.

    >>> scores, layer = dola(jnp.zeros(2), jnp.array([[0.0, 0.0], [1.0, 0.0]]))
    >>> int(layer)
    1
    """
    layer = jnp.argmax(layer_divergence(final, early), axis=0)
    own = layer[None, ..., None] == jnp.arange(len(early)).reshape(
        -1, *[1] * final.ndim
    )
    chosen = jnp.sum(jnp.where(own, early, 0.0), axis=0)
    return dola_static(final, chosen, share=share), layer


def dola_logp(
    final: Array,
    early: Array,
    tokens: Array,
    *,
    share: float = 0.1,
    implausible: float = -1000.0,
    normalised: bool = True,
) -> Array:
    """Score given tokens by the contrast with an early layer.

    Args:
      final: float [T, V]. Logits at the position that predicts tokens[t].
      early: float [T, V]. Logits of the layer chosen for each position.
      tokens: int [T].
      share: See `dola_static`; 0 finds everything plausible.
      implausible: Score of implausible tokens, nats; finite, so that one doesn't rule
        out a whole text.
      normalised: Make the contrast a distribution before scores are replaced.

    Returns:
      float [T]. Scores, nats; sum them up.

    Reference: Chuang et al., 2024, DoLa, section 3, arXiv:2309.03883, and its release.

    >>> dola_logp(jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.array([0])).tolist()
    [-0.6931471824645996]
    """
    chex.assert_equal_shape([final, early])
    scores = contrast_scores(
        final, early, share=share, implausible=implausible, normalised=normalised
    )
    return jnp.take_along_axis(scores, tokens[:, None], axis=-1)[:, 0]


def contrast_scores(
    final: Array,
    early: Array,
    *,
    share: float,
    implausible: float,
    normalised: bool,
) -> Array:
    """What `dola_logp` looks tokens up in.

    Args:
      final: float [..., V]. Logits.
      early: float [..., V]. Logits.
      share: See `dola_logp`.
      implausible: See `dola_logp`.
      normalised: See `dola_logp`.

    Returns:
      float [..., V]. Doesn't sum to one where tokens were replaced.

    >>> logits = jnp.array([0.0, -9.0])
    >>> options = {"share": 0.1, "implausible": -5.0, "normalised": False}
    >>> contrast_scores(logits, logits, **options).tolist()
    [0.0, -5.0]
    """
    own = jax.nn.log_softmax(final)
    scores = own - jax.nn.log_softmax(early)
    scores = jax.nn.log_softmax(scores) if normalised else scores
    return jnp.where(plausible(own, share=share), scores, implausible)
