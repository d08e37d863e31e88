"""DuCA and GTPO: oracles of agentic.md sections 4 and 5."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.groups import group_normalised
from jaxrl.advantages.turns import (
    by_batch,
    by_position,
    differences_normalised,
    hian,
    normalised_differences,
    reached,
    spread_turns,
)
from jaxrl.advantages.zscore import centre_then_scale

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)


def table(rows):
    """A ragged list as a table with NaN in its padding, and what is reached."""
    width = max(map(len, rows))
    x = np.full((len(rows), width), np.nan, np.float32)
    for index, row in enumerate(rows):
        x[index, : len(row)] = row
    return jnp.asarray(x), jnp.asarray(~np.isnan(x))


def ragged(rows):
    """A ragged list with zeros in its padding."""
    x, valid = table(rows)
    return np.where(valid, x, 0.0)


SCORES, SCORED = table([[0.2, 0.6, 1.0], [0.4, 0.4, 0.5], [0.6, 0.8], [0.2, 0.2, 0.0]])
TASK = jnp.zeros(4, int)
SESSIONS = jnp.array([10.0, 0.0, 0.0, 10.0])
TURNS, TAKEN = table([[0, 0, -1], [0, 0], [0, -1, -1], [0]])
D = [
    [-0.904529, 1.351740, 0.777530],
    [0.301510, -0.748721, 0.447212],
    [1.507548, -0.165913],
    [-0.904529, -0.437106, 0.116893],
]


def test_gtpo_oracle(variant):
    found = variant(normalised_differences)(SCORES, SCORED, TASK)
    close(found, ragged(D))


def test_gtpo_oracle_of_the_other_order(variant):
    expected = [
        [-0.904529, 1.507548, 1.224740],
        [0.301510, -0.904529, 0],
        [1.507548, 0.301510],
        [-0.904529, -0.904529, -1.224740],
    ]
    found = variant(differences_normalised)(SCORES, SCORED, TASK)
    close(found, ragged(expected))


def test_gtpo_oracle_of_renormalisation():
    found = normalised_differences(SCORES, SCORED, TASK, renormalised=True)
    close(found[:, 1], [1.674574, -0.927537, -0.205538, -0.541500])
    close(found[:, 2], [1.224740, 0, 0, -1.224740])


def test_gtpo_oracle_of_two_turns():
    scores = jnp.array([[0.0, 1.0], [1.0, 1.0]])
    found = normalised_differences(scores, scores >= 0, jnp.zeros(2, int))
    close(found, [[-1, 1], [1, -1]], atol=1e-5)


@pytest.mark.parametrize("credit", [normalised_differences, differences_normalised])
def test_gtpo_of_one_turn_is_grpo(credit):
    scores = jnp.array([[0.0], [0.0], [1.0], [1.0], [0.3]])
    group = jnp.array([0, 0, 0, 0, 1])
    found = credit(scores, scores >= 0, group)
    close(found[:4, 0], group_normalised(scores[:4, 0], TASK, num_groups=1, ddof=0))
    assert found[4, 0] == 0


def test_gtpo_credit_telescopes_and_does_not_see_the_scale():
    found = normalised_differences(SCORES, SCORED, TASK)
    z = np.cumsum(found, axis=1)
    close(np.where(SCORED, z, 0).sum(0), np.zeros(3), atol=1e-5)
    moved = SCORES * jnp.array([[2.0, 0.5, 3.0]]) + jnp.array([[1.0, -1.0, 0.2]])
    close(normalised_differences(moved, SCORED, TASK), found, atol=1e-4)


def test_gtpo_turn_that_one_rollout_reached():
    scores, valid = table([[0.0, 0.7], [1.0]])
    credit = partial(normalised_differences, scores, valid, jnp.zeros(2, int))
    close(credit(), [[-1, 1], [1, 0]], atol=1e-5)
    close(credit(lone_turns=False), [[-1, 0], [1, 0]], atol=1e-5)


def test_hian_oracle(variant):
    expected = [
        [1.707105, 1.707105, -0.414211],
        [-0.292895, -0.292895],
        [-0.292895, -2.414210, -2.414210],
        [1.707105],
    ]
    found = variant(hian)(SESSIONS, TURNS, TAKEN, TASK)
    close(found, ragged(expected))


def test_hian_does_not_drown_turns_in_large_sessions():
    found = hian(100 * SESSIONS, TURNS, TAKEN, TASK)
    close(found, hian(SESSIONS, TURNS, TAKEN, TASK), atol=1e-5)
    # What it is compared with: one reward, in which turns vanish.
    for scale, expected in [
        (1, [0.894675, -0.800499, -1.177204, 1.083027]),
        (100, [0.998999, -0.998000, -1.001998, 1.000998]),
    ]:
        merged = scale * SESSIONS + jnp.where(TAKEN, TURNS, 0).sum(1)
        close(group_normalised(merged, TASK, num_groups=1, ddof=0), expected)


def test_hian_oracle_of_a_second_group():
    """Everyone converts: the turns alone still train."""
    turns, taken = table([[0, 0, -1], [0, 0], [0, -1, -1], [0], [0, -1], [0]])
    sessions = jnp.array([10.0, 0.0, 0.0, 10.0, 10.0, 10.0])
    group = jnp.array([0, 0, 0, 0, 1, 1])
    found = hian(sessions, turns, taken, group)
    close(found[4:, :2], [[0.707105, -1.414211], [0.707105, 0]])
    close(found[:4], hian(SESSIONS, TURNS, TAKEN, TASK))


def test_hian_pools():
    turn = partial(hian, SESSIONS, TURNS, TAKEN, session_weight=0.0)
    found = turn(TASK, pool=by_position)
    close(found[:, 1], [0.707105, 0.707105, -1.414211, 0])
    np.testing.assert_array_equal(found[:, 0], np.zeros(4))
    np.testing.assert_array_equal(found[:, 2], np.zeros(4))
    close(turn(jnp.arange(4), pool=by_batch), turn(TASK))


def test_hian_baseline_then_scale():
    sessions, turns = jnp.array([10.0, 0.0, 10.0, 10.0]), jnp.zeros((4, 1))
    group = jnp.array([0, 0, 1, 1])
    found = hian(sessions, turns, turns == 0, group, normalise=centre_then_scale)
    close(found[:, 0], [1.414214, -1.414214, 0, 0])


def test_hian_without_turns_is_grpo():
    found = hian(SESSIONS, TURNS, TAKEN, TASK, turn_weight=0.0)
    sessions = group_normalised(SESSIONS, TASK, num_groups=1, ddof=0)
    close(found, np.where(TAKEN, sessions[:, None], 0))


def test_turns_reached_end_with_the_last_trained_token():
    sequence = jnp.array([[0, 0, 0, 0, 2], [2, 2, 3, 3, -1]])
    turn = jnp.array([[0, -1, 1, 5, 9], [0, 2, 0, 0, 4]])
    mask = jnp.array(
        [[True, False, True, False, False], [True, True, False, True, True]]
    )
    found = reached(sequence, turn, mask, num_sequences=4, num_turns=3)
    expected = [[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0]]
    np.testing.assert_array_equal(found, np.array(expected, bool))


def test_tokens_get_the_credit_of_their_turn():
    sequence = jnp.array([[0, 0, 0, 1, 1, -1]])
    turn = jnp.array([[0, 1, 2, -1, 1, 0]])
    mask = jnp.array([[True, True, True, True, True, True]])
    credit = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    found = spread_turns(credit, sequence, turn, mask)
    np.testing.assert_array_equal(found, [[1, 2, 0, 0, 4, 0]])
    found = spread_turns(credit[:, 0], sequence, turn, mask)
    np.testing.assert_array_equal(found, [[1, 1, 1, 3, 3, 0]])
