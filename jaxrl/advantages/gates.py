"""Let a judge of the reasoning steps decide how much the answer is worth (V-tableR1).

Reconstruction: that the process score gates the rewards of answer and format is known
from summaries of the paper (arXiv:2604.20755); the forms here are ours.
"""

from collections.abc import Callable

import chex
import jax.numpy as jnp

from jaxrl.types import Array

Gate = Callable[[Array], Array]
"""`process score [S] in [0, 1] -> factor [S]`."""


def mean_process(scores: Array, valid: Array, *, min_steps: int = 1) -> Array:
    """Mean score of the steps, with missing steps counted as wrong.

    `sum(scores) / max(steps, min_steps, 1)`: skipping steps costs.

    Args:
      scores: float [S, K] in [0, 1]. Judge's score of each step.
      valid: bool [S, K]. Steps that exist; repeated ones count once.
      min_steps: Steps that the question needs.

    Returns:
      float [S] in [0, 1]. 0 without steps.

    >>> scores = jnp.array([[1.0, 0.0, 0.0, 1.0]])
    >>> mean_process(scores, scores >= 0).tolist()
    [0.5]
    """
    chex.assert_equal_shape([scores, valid])
    steps = jnp.sum(valid, axis=1).astype(scores.dtype)
    total = jnp.sum(jnp.where(valid, scores, 0.0), axis=1)
    return total / jnp.maximum(steps, max(min_steps, 1))


def min_process(scores: Array, valid: Array, *, min_steps: int = 1) -> Array:
    """Score of the worst step; 0 with too few steps.

    Args:
      scores: float [S, K] in [0, 1]. Judge's score of each step.
      valid: bool [S, K]. Steps that exist; repeated ones count once.
      min_steps: Steps that the question needs.

    Returns:
      float [S] in [0, 1].

    >>> scores = jnp.array([[1.0, 0.5]])
    >>> min_process(scores, scores >= 0).tolist()
    [0.5]
    """
    chex.assert_equal_shape([scores, valid])
    worst = jnp.min(jnp.where(valid, scores, 1.0), axis=1)
    return jnp.where(_enough(valid, min_steps), worst, 0.0)


def product_process(scores: Array, valid: Array, *, min_steps: int = 1) -> Array:
    """Product of the steps' scores; 0 with too few steps.

    Args:
      scores: float [S, K] in [0, 1]. Judge's score of each step.
      valid: bool [S, K]. Steps that exist; repeated ones count once.
      min_steps: Steps that the question needs.

    Returns:
      float [S] in [0, 1].

    >>> scores = jnp.array([[0.5, 0.5]])
    >>> product_process(scores, scores >= 0).tolist()
    [0.25]
    """
    chex.assert_equal_shape([scores, valid])
    product = jnp.prod(jnp.where(valid, scores, 1.0), axis=1)
    return jnp.where(_enough(valid, min_steps), product, 0.0)


def soft_gate(process: Array) -> Array:
    """Scale by the process score itself.

    Args:
      process: float [S] in [0, 1].

    Returns:
      float [S] in [0, 1].

    >>> soft_gate(jnp.array([0.5])).tolist()
    [0.5]
    """
    return process


def hard_gate(process: Array, *, threshold: float = 0.5) -> Array:
    """All or nothing.

    Args:
      process: float [S] in [0, 1].
      threshold: Lowest score that passes.

    Returns:
      float [S], 0 or 1.

    >>> hard_gate(jnp.array([0.4, 0.5])).tolist()
    [0.0, 1.0]
    """
    return (process >= threshold).astype(process.dtype)


def floor_gate(process: Array, *, floor: float = 0.1) -> Array:
    """Scale by the process score, but never by less than `floor`.

    Args:
      process: float [S] in [0, 1].
      floor: Smallest factor.

    Returns:
      float [S] in [floor, 1].

    >>> floor_gate(jnp.array([0.0, 0.5]), floor=0.25).tolist()
    [0.25, 0.5]
    """
    return jnp.maximum(process, floor)


def open_gate(process: Array) -> Array:
    """Ignore the process: PGPO without process supervision.

    Args:
      process: float [S].

    Returns:
      float [S], 1.

    >>> open_gate(jnp.array([0.5])).tolist()
    [1.0]
    """
    return jnp.ones_like(process)


def gated_reward(
    answer: Array,
    form: Array,
    process: Array,
    *,
    gate: Gate = soft_gate,
    answer_weight: float = 0.9,
    form_weight: float = 0.1,
) -> Array:
    """Reward of answer and format, times the gate of the process.

    `gate(process) * (answer_weight * answer + form_weight * form)`: a right answer
    from wrong steps is worth little.

    Args:
      answer: float [S] in [0, 1]. Whether the answer is right.
      form: float [S] in [0, 1]. Whether the format is right.
      process: float [S] in [0, 1]. Score of the steps.
      gate: One of the gates of this module.
      answer_weight: Of the answer.
      form_weight: Of the format.

    Returns:
      float [S] in [0, answer_weight + form_weight].

    Reference: V-tableR1, 2026, arXiv:2604.20755. Reconstruction: see the module.

    >>> one = jnp.ones(1)
    >>> gated_reward(one, one, 0.5 * one).tolist()
    [0.5]
    """
    chex.assert_equal_shape([answer, form, process])
    return gate(process) * (answer_weight * answer + form_weight * form)


def _enough(valid: Array, min_steps: int) -> Array:
    return jnp.sum(valid, axis=1) >= max(min_steps, 1)
