"""What a masked-diffusion language model hides, and in which order it fills it in.

Pure functions of arrays; noise is an argument, so that two models can share it.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import Array


def masking_probability(level: Array, *, floor: float = 1e-3) -> Array:
    """Probability of hiding a token, `(1 - floor) level + floor`.

    Args:
      level: float [N]. Uniform in [0, 1).
      floor: Smallest probability, which bounds the loss's weights.

    Returns:
      float [N].

    >>> masking_probability(jnp.zeros(1), floor=0.5).tolist()
    [0.5]
    """
    return (1.0 - floor) * level + floor


def hidden_at_random(noise: Array, probability: Array, answer: Array) -> Array:
    """Hide each answer token independently.

    Args:
      noise: float [N, T]. Uniform in [0, 1).
      probability: float [N]. Of hiding, per row.
      answer: bool [N, T]. Tokens that may be hidden.

    Returns:
      bool [N, T].

    >>> noise = jnp.zeros((1, 1))
    >>> hidden_at_random(noise, jnp.ones(1), noise == 0).tolist()
    [[True]]
    """
    return answer & (noise < probability[:, None])


def hidden_exactly(noise: Array, count: Array, answer: Array) -> Array:
    """Hide a given number of answer tokens, any set of that size alike.

    Args:
      noise: float [N, T]. Uniform in [0, 1); those with the smallest are hidden.
      count: int [N]. Tokens to hide; at most the answer's.
      answer: bool [N, T]. Tokens that may be hidden.

    Returns:
      bool [N, T].

    >>> answer = jnp.ones((1, 2), bool)
    >>> hidden_exactly(jnp.array([[0.5, 0.2]]), jnp.array([1]), answer).tolist()
    [[False, True]]
    """
    return answer & (_rank(jnp.where(answer, noise, jnp.inf)) < count[:, None])


def stratified_counts(first: Array, *, draws: int, length: int) -> Array:
    """Numbers of tokens to hide, spread evenly over 1 to `length`.

    `((round(first + j length / draws) - 1) mod length) + 1`, halves to even.

    Args:
      first: int []. Drawn uniformly from 1 to `length`.
      draws: Numbers to return.
      length: Tokens of the answer.

    Returns:
      int [draws].

    Reference: the LLaDA release (likelihood evaluation), arXiv:2502.09992.

    >>> stratified_counts(jnp.int32(3), draws=4, length=8).tolist()
    [3, 5, 7, 1]
    """
    spread = jnp.asarray(first, float) + jnp.arange(0.0, draws) * (length / draws)
    return (jnp.asarray(jnp.round(spread), jnp.int32) - 1) % length + 1


def guided(logits: Array, without_prompt: Array, *, scale: float) -> Array:
    """Classifier-free guidance: `u + (scale + 1) (c - u)`.

    Args:
      logits: float [..., V]. Given the prompt; c.
      without_prompt: float [..., V]. Given the sequence with its prompt hidden; u.
      scale: 0 changes nothing.

    Returns:
      float [..., V].

    >>> guided(jnp.ones(1), jnp.zeros(1), scale=1.0).tolist()
    [2.0]
    """
    return without_prompt + (scale + 1.0) * (logits - without_prompt)


def fill_schedule(count: Array, *, steps: int) -> Array:
    """How many tokens to fill in each step: equal parts, the rest in the first steps.

    Args:
      count: int [N]. Hidden tokens.
      steps: Steps to fill them in.

    Returns:
      int [N, steps]; rows sum to `count`.

    >>> fill_schedule(jnp.array([10]), steps=4).tolist()
    [[3, 3, 2, 2]]
    """
    part, rest = count // steps, count % steps
    more = jnp.arange(steps)[None, :] < rest[:, None]
    return part[:, None] + jnp.asarray(more, count.dtype)


def fill_in(tokens: Array, logits: Array, open_: Array, count: Array) -> Array:
    """Fill the open places of which the model is most certain with its likeliest token.

    Args:
      tokens: int [N, T].
      logits: float [N, T, V]. Prediction at each place.
      open_: bool [N, T]. Hidden places that may be filled now.
      count: int [N]. Places to fill.

    Returns:
      int [N, T].

    Reference: low-confidence remasking, LLaDA, section 2.4, arXiv:2502.09992.

    >>> tokens, logits = jnp.array([[7, 7]]), jnp.array([[[0.0, 1.0], [0.0, 2.0]]])
    >>> fill_in(tokens, logits, tokens == 7, jnp.array([1])).tolist()
    [[7, 1]]
    """
    certainty = jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1)
    chosen = _rank(jnp.where(open_, -certainty, jnp.inf)) < count[:, None]
    best = jnp.asarray(jnp.argmax(logits, axis=-1), tokens.dtype)
    return jnp.where(open_ & chosen, best, tokens)


def _rank(x: Array) -> Array:
    """Place of each entry in the ascending order of its row, 0 first."""
    return jnp.argsort(jnp.argsort(x, axis=1), axis=1)
