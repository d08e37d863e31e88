"""Credit of turns, where a sequence holds several of them and each has a reward.

Tables are [S, K]: sequence by turn. Sequences of a group that stopped early reached
fewer turns, and what stands in the table beyond has no effect.
"""

from typing import Protocol

import chex
import jax.numpy as jnp

from jaxrl.advantages.groups import spread
from jaxrl.advantages.zscore import Normaliser, moments, zscore
from jaxrl.types import Array


class Pooling(Protocol):
    """Which turns are compared with each other; `by_group` and its siblings."""

    def __call__(self, group: Array, *, num_turns: int) -> Array:
        """Pool of each turn, int [S, K]; ids are below S * K."""
        ...


def reached(
    sequence: Array, turn: Array, mask: Array, *, num_sequences: int, num_turns: int
) -> Array:
    """Tell which turns each sequence reached: all up to its last trained token's.

    Args:
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      turn: int [N, T]. Turn of each trained token, from 0.
      mask: bool [N, T]. Tokens that the policy sampled.
      num_sequences: S.
      num_turns: K.

    Returns:
      bool [S, K].

    >>> turn = jnp.array([[0, 1]])
    >>> table = reached(0 * turn, turn, turn >= 0, num_sequences=1, num_turns=3)
    >>> table.tolist()
    [[True, True, False]]
    """
    chex.assert_equal_shape([sequence, turn, mask])
    own = sequence[:, :, None] == jnp.arange(num_sequences)[None, None, :]
    number = jnp.where(own & mask[:, :, None], turn[:, :, None] + 1, 0).max((0, 1))
    return jnp.arange(num_turns)[None, :] < number[:, None]


def spread_turns(advantages: Array, sequence: Array, turn: Array, mask: Array) -> Array:
    """Give every token the advantage of its turn, or of its whole sequence.

    Args:
      advantages: float [S, K], one per turn, or [S], one per sequence.
      sequence: int [N, T]. Sequence of each token; -1 on padding.
      turn: int [N, T]. Turn of each trained token, from 0.
      mask: bool [N, T]. Tokens that get it.

    Returns:
      float [N, T]. 0 outside of the mask and on turns from K on.

    >>> turn = jnp.array([[0, 1]])
    >>> spread_turns(jnp.array([[2.0, 3.0]]), 0 * turn, turn, turn >= 0).tolist()
    [[2.0, 3.0]]
    """
    if advantages.ndim == 1:
        return spread(advantages, sequence, mask)
    turns = advantages.shape[1]
    place = jnp.where(sequence >= 0, sequence * turns + turn, -1)
    return spread(advantages.reshape(-1), place, mask & (turn >= 0) & (turn < turns))


def by_group(group: Array, *, num_turns: int) -> Array:
    """Compare a turn with all turns of the group, whatever their index.

    Args:
      group: int [S]. Sequences with equal id are compared with each other.
      num_turns: K.

    Returns:
      int [S, K]. Pool of each turn.

    >>> by_group(jnp.array([0, 1]), num_turns=2).tolist()
    [[0, 0], [1, 1]]
    """
    return jnp.repeat(group[:, None], num_turns, axis=1)


def by_position(group: Array, *, num_turns: int) -> Array:
    """Compare a turn with the turns of the same index in the group.

    Args:
      group: int [S]. Sequences with equal id are compared with each other.
      num_turns: K.

    Returns:
      int [S, K]. Pool of each turn.

    >>> by_position(jnp.array([0, 1]), num_turns=2).tolist()
    [[0, 1], [2, 3]]
    """
    return group[:, None] * num_turns + jnp.arange(num_turns)[None, :]


def by_batch(group: Array, *, num_turns: int) -> Array:
    """Compare a turn with all turns of the batch.

    Args:
      group: int [S]. Not looked at.
      num_turns: K.

    Returns:
      int [S, K]. Zeros.

    >>> by_batch(jnp.array([0, 1]), num_turns=2).tolist()
    [[0, 0], [0, 0]]
    """
    return jnp.zeros_like(by_group(group, num_turns=num_turns))


def pooled(
    x: Array,
    valid: Array,
    group: Array,
    *,
    pool: Pooling,
    normalise: Normaliser = zscore,
) -> Array:
    """Normalise a table of turns within pools.

    Args:
      x: float [S, K].
      valid: bool [S, K]. Turns that were reached.
      group: int [S]. Ids are below S.
      pool: Which turns are compared, such as `by_group`.
      normalise: How, such as `zscore`.

    Returns:
      float [S, K]. 0 on turns that were not reached.

    >>> x, group = jnp.array([[1.0], [3.0]]), jnp.zeros(2, int)
    >>> pooled(x, x > 0, group, pool=by_group).round(3).tolist()
    [[-1.0], [1.0]]
    """
    chex.assert_equal_shape([x, valid])
    ids = pool(group, num_turns=x.shape[1])
    flat = (x.reshape(-1), valid.reshape(-1), ids.reshape(-1))
    return normalise(*flat, num_pools=x.size).reshape(x.shape)


def differences(x: Array, valid: Array) -> Array:
    """Change from turn to turn, `x[k] - x[k - 1]`, with 0 before the first.

    Args:
      x: float [S, K].
      valid: bool [S, K]. Turns that were reached.

    Returns:
      float [S, K]. 0 on turns that were not reached; sums up to the last reached x.

    >>> differences(jnp.array([[1.0, 3.0]]), jnp.array([[True, True]])).tolist()
    [[1.0, 2.0]]
    """
    x = jnp.where(valid, x, 0.0)
    before = jnp.concatenate([jnp.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
    return jnp.where(valid, x - before, 0.0)


def normalised_differences(
    scores: Array,
    valid: Array,
    group: Array,
    *,
    renormalised: bool = False,
    lone_turns: bool = True,
) -> Array:
    """Change of the normalised score: what a turn added, relative to the group.

    `z[k] = zscore(scores[k])` over the sequences that reached turn k, then
    `A[k] = z[k] - z[k - 1]`, so that credits of a sequence sum up to its last z.

    Args:
      scores: float [S, K]. How good everything is after turn k.
      valid: bool [S, K]. Turns that were reached.
      group: int [S]. Sequences that got the same instructions; ids are below S.
      renormalised: Normalise the differences again, turn by turn.
      lone_turns: Credit turns that only one sequence of the group reached; its z is 0
        there, so it loses what it was ahead. False gives them 0.

    Returns:
      float [S, K]. 0 on turns that were not reached.

    Reference: TRIP-Bench, 2026, Group Relative Turn-level Policy Optimization (GTPO),
    arXiv:2602.01675. Reconstruction: the abstract names normalisation and differencing;
    pool, order, and the absence of a last normalisation are ours.

    >>> scores, group = jnp.array([[0.0, 1.0], [1.0, 1.0]]), jnp.zeros(2, int)
    >>> normalised_differences(scores, scores >= 0, group).round(2).tolist()
    [[-1.0, 1.0], [1.0, -1.0]]
    """
    z = pooled(scores, valid, group, pool=by_position)
    credit = differences(z, valid)
    if renormalised:
        credit = pooled(credit, valid, group, pool=by_position)
    return credit if lone_turns else jnp.where(_shared(valid, group), credit, 0.0)


def differences_normalised(scores: Array, valid: Array, group: Array) -> Array:
    """Normalised change of the score: differences first, then `zscore` turn by turn.

    Args:
      scores: float [S, K]. How good everything is after turn k.
      valid: bool [S, K]. Turns that were reached.
      group: int [S]. Sequences that got the same instructions; ids are below S.

    Returns:
      float [S, K]. 0 on turns that were not reached.

    Reference: the other order of `normalised_differences`; a reconstruction as well.

    >>> scores, group = jnp.array([[0.0, 1.0], [1.0, 1.0]]), jnp.zeros(2, int)
    >>> differences_normalised(scores, scores >= 0, group).round(2).tolist()
    [[-1.0, 1.0], [1.0, -1.0]]
    """
    return pooled(differences(scores, valid), valid, group, pool=by_position)


def hian(
    session_rewards: Array,
    turn_rewards: Array,
    valid: Array,
    group: Array,
    *,
    session_weight: float = 1.0,
    turn_weight: float = 1.0,
    pool: Pooling = by_group,
    normalise: Normaliser = zscore,
) -> Array:
    """Normalise sessions and turns separately, then add: neither drowns the other.

    `A[s, k] = alpha * z(session reward)[s] + beta * z(turn rewards)[s, k]`. The sum is
    not normalised again, which would couple the horizons.

    Args:
      session_rewards: float [S]. Outcome of the whole dialogue.
      turn_rewards: float [S, K]. Immediate reward of each turn.
      valid: bool [S, K]. Turns that were reached.
      group: int [S]. Sessions of one task; ids are below S.
      session_weight: alpha.
      turn_weight: beta.
      pool: Which turns are compared.
      normalise: `zscore`, or `centre_then_scale`.

    Returns:
      float [S, K]. 0 on turns that were not reached.

    Reference: DuCA, 2026, whose abstract calls this HIAN, arXiv:2603.01481.
    Reconstruction: the paper normalises separately and adds; pools and immediate turn
    credit are ours.

    >>> sessions, turns = jnp.array([10.0, 0.0]), jnp.array([[0.5], [0.5]])
    >>> hian(sessions, turns, turns >= 0, jnp.zeros(2, int)).round(3).tolist()
    [[1.0], [-1.0]]
    """
    everyone = valid.any(1)
    session = normalise(session_rewards, everyone, group, num_pools=len(group))
    turn = pooled(turn_rewards, valid, group, pool=pool, normalise=normalise)
    return jnp.where(valid, session_weight * session[:, None] + turn_weight * turn, 0.0)


def _shared(valid: Array, group: Array) -> Array:
    """Turns that at least two sequences of the group reached."""
    ids = by_position(group, num_turns=valid.shape[1]).reshape(-1)
    flat = jnp.asarray(valid.reshape(-1), float)
    count = moments(flat, flat > 0, ids, num_pools=len(ids)).number
    return count.reshape(valid.shape) > 1
