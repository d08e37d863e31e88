"""V-trace: GAE at ratio 1, a loop, and caps."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.returns import gae
from jaxrl.advantages.vtrace import vtrace

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


def ragged():
    rng = np.random.default_rng(0)
    sequence = np.array([[0, 0, 0, 0, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, -1, -1]])
    mask = (sequence >= 0) & np.array(
        [[0, 1, 0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1, 1, 1]], bool
    )
    rewards, values = rng.normal(size=(2, 2, 8)).astype(np.float32)
    ratio = rng.uniform(0.3, 2.0, (2, 8)).astype(np.float32)
    return rewards, values, ratio, sequence, mask


def slow_vtrace(rewards, values, ratio, sequence, mask, discount, decay, caps):
    advantages, targets = np.zeros_like(values), np.zeros_like(values)
    for n in range(len(values)):
        for own in set(sequence[n][sequence[n] >= 0]):
            error = ahead = 0.0
            for t in reversed(np.flatnonzero((sequence[n] == own) & mask[n])):
                r, reward, value = ratio[n, t], rewards[n, t], values[n, t]
                later = reward + discount * (ahead + decay * error) - value
                advantages[n, t] = min(caps[1], r) * later
                delta = min(caps[0], r) * (reward + discount * ahead - value)
                error = delta + discount * decay * min(1.0, r) * error
                targets[n, t], ahead = value + error, value
    return advantages, targets


@pytest.mark.parametrize("caps", [(1.0, 1.0), (1.5, 0.7)])
def test_it_is_the_loop(variant, caps):
    example = ragged()
    mask = example[-1]
    expected = slow_vtrace(*example, 0.9, 0.8, caps)
    kernel = partial(
        vtrace, discount=0.9, decay=0.8, cap=caps[0], advantage_cap=caps[1]
    )
    dirty = [jnp.where(mask, x, jnp.nan) for x in example[:3]]
    found = variant(kernel)(*dirty, *map(jnp.asarray, example[3:]))
    close(found[0], expected[0])
    close(found[1], np.where(mask, expected[1], 0))


def test_at_ratio_one_targets_are_those_of_gae():
    rewards, values, _, sequence, mask = (jnp.asarray(x) for x in ragged())
    _, targets = vtrace(
        rewards, values, jnp.ones_like(values), sequence, mask, discount=0.9, decay=0.8
    )
    _, expected = gae(rewards, values, sequence, mask, discount=0.9, decay=0.8)
    close(targets, expected)


def test_tokens_that_the_policy_gave_up_teach_nothing():
    rewards, values, ratio, sequence, mask = (jnp.asarray(x) for x in ragged())
    advantages, targets = vtrace(rewards, values, 0 * ratio, sequence, mask)
    np.testing.assert_array_equal(advantages, jnp.zeros_like(values))
    np.testing.assert_array_equal(targets, jnp.where(mask, values, 0))
