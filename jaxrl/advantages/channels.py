"""Credit of several reward channels, each normalised for itself within the group."""

import chex
import jax.numpy as jnp

from jaxrl.advantages.zscore import moments, zscore
from jaxrl.masking import safe_divide
from jaxrl.types import Array


def track(
    rewards: Array,
    counted: Array,
    group: Array,
    *,
    num_groups: int,
    limit: float = 10.0,
) -> Array:
    """One reward channel against the group, in deviations, limited to `+-limit`.

    Args:
      rewards: float [S]. One per sequence.
      counted: bool [S]. Sequences that finished; the others get 0.
      group: int [S]. Sequences with equal id are compared with each other.
      num_groups: Ids are below this number.
      limit: Largest magnitude.

    Returns:
      float [S]. 0 where fewer than two of the group are counted.

    Reference: the release of TRUST-SQL, 2026, arXiv:2603.16448; the deviation divides
    by n. Whether the paper limits is not known.

    >>> rewards, group = jnp.array([1.0, 0.0]), jnp.zeros(2, int)
    >>> track(rewards, group == 0, group, num_groups=1).round(3).tolist()
    [1.0, -1.0]
    """
    z = zscore(rewards, counted, group, num_pools=num_groups)
    return jnp.clip(z, -limit, limit)


def added(
    advantages: Array, other: Array, routed: Array, *, weight: float = 0.25
) -> Array:
    """Add a second track on the tokens routed to it: `A + w * B * 1[routed]`.

    Args:
      advantages: float [N, T]. Of all tokens.
      other: float [N, T]. Of the second track.
      routed: bool [N, T]. Tokens of the second track.
      weight: Of the second track.

    Returns:
      float [N, T].

    Reference: a variant in the release of TRUST-SQL, arXiv:2603.16448. Differs from the
    paper's two losses: the second track has no average of its own.

    >>> x = jnp.array([[1.0, 1.0]])
    >>> added(x, 2.0 * x, jnp.array([[True, False]]), weight=0.5).tolist()
    [[2.0, 1.0]]
    """
    chex.assert_equal_shape([advantages, other, routed])
    return advantages + jnp.where(routed, weight * other, 0.0)


def magnified(
    advantages: Array, rewards: Array, routed: Array, *, weight: float = 0.25
) -> Array:
    """Magnify credit by a second reward: `A * (1 + w * R * 1[routed])`.

    Args:
      advantages: float [N, T]. Of all tokens.
      rewards: float [N, T]. Second reward, not normalised.
      routed: bool [N, T]. Tokens of the second track.
      weight: Of the second reward.

    Returns:
      float [N, T].

    Reference: the default of the release of TRUST-SQL, arXiv:2603.16448. Differs from
    the paper: a bad sequence with a good schema is punished more, not less.

    >>> x = jnp.array([[2.0, 2.0]])
    >>> magnified(x, x / 2, jnp.array([[True, False]]), weight=0.5).tolist()
    [[3.0, 2.0]]
    """
    chex.assert_equal_shape([advantages, rewards, routed])
    return advantages * (1.0 + jnp.where(routed, weight * rewards, 0.0))


def outcome_scores(
    outcomes: Array,
    penalties: Array,
    counted: Array,
    group: Array,
    *,
    num_groups: int,
    floor: float = 0.0,
    eps: float = 1e-6,
) -> Array:
    """Outcomes against outcomes, and penalties in their deviations.

    `(R - mean + r) / (max(std, floor) + eps)` with the statistics of outcomes alone, so
    that all episodes count alike. Equal outcomes give 0, unless there is a floor.

    Args:
      outcomes: float [S]. Outcome of the episode of each step.
      penalties: float [S]. Process rewards of the step itself.
      counted: bool [S]. One step of each episode, see `steps.first_of`.
      group: int [S]. Task of each step.
      num_groups: Ids are below this number.
      floor: Smallest deviation, in units of reward.
      eps: Added to the deviation.

    Returns:
      float [S].

    Reference: an alternative to HIPIF's `zscore` over all steps (2026,
    arXiv:2606.10507); a reconstruction, like that one's pool.

    >>> outcomes, group = jnp.array([1.0, -1.0]), jnp.zeros(2, int)
    >>> every = group == 0
    >>> outcome_scores(outcomes, 0 * outcomes, every, group, num_groups=1, eps=0.0)
    Array([ 1., -1.], dtype=float32)
    """
    count, mean, std = moments(outcomes, counted, group, num_pools=num_groups)
    scale = jnp.maximum(std, floor)
    scores = safe_divide(outcomes - mean + penalties, scale + eps)
    return jnp.where((count > 1) & (scale > 0), scores, 0.0)
