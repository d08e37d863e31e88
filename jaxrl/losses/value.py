"""Regression of a critic."""

import chex
import jax.numpy as jnp

from jaxrl.masking import masked_sum
from jaxrl.types import Array, Loss, Mean


def clipped_value(
    values: Array, old_values: Array, returns: Array, weights: Array, *, clip: float
) -> Loss:
    """Squared error of a critic that gains nothing by moving further than `clip`.

    `sum(w * max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)) / 2`.

    Args:
      values: float [N, T]. The trained critic's estimates; carry gradient.
      old_values: float [N, T]. Estimates before the update; constant.
      returns: float [N, T]. What the critic should have said; constant.
      weights: float [N, T]. Share of each token in the average; 0 is not trained.
      clip: Largest move that pays off, in units of reward; c.

    Returns:
      The loss. Metrics are means over the trained tokens: `value_error` (squared) and
      `value_clip_fraction` (the clipped error is the larger one).

    >>> x = jnp.ones((1, 1))
    >>> float(clipped_value(0.0 * x, 0.0 * x, 2.0 * x, x, clip=0.5).value)
    2.0
    """
    chex.assert_equal_shape([values, old_values, returns, weights])
    live = weights != 0
    values, old_values, returns = (
        jnp.where(live, x, 0.0) for x in (values, old_values, returns)
    )
    near = jnp.clip(values, old_values - clip, old_values + clip)
    free, held = (values - returns) ** 2, (near - returns) ** 2
    error = jnp.where(held > free, held, free)
    count = jnp.sum(live.astype(values.dtype))
    metrics = {
        "value_error": Mean(masked_sum(free, live), count),
        "value_clip_fraction": Mean(jnp.sum((held > free).astype(free.dtype)), count),
    }
    return Loss(0.5 * masked_sum(weights * error, live), metrics)
