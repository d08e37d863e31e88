"""Scales of the batch, of rewards and of prompts; what is dead doesn't count."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from jaxrl.advantages.baselines import set_apart
from jaxrl.advantages.groups import group_normalised
from jaxrl.advantages.scaling import (
    batch_normalised,
    batch_scaled,
    decoupled_normalised,
    deviation,
    equal_prompts,
    informative_rescaled,
    sign_weighted,
)

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
X = np.array([1.0, -0.5, 2.0, np.nan, 0.25], np.float32)
LIVE = ~np.isnan(X)


def test_deviation_is_numpys(variant):
    for ddof in (0, 1):
        found = variant(partial(deviation, ddof=ddof))(
            jnp.asarray(X), jnp.asarray(LIVE)
        )
        close(found, X[LIVE].std(ddof=ddof))


def test_batch_is_normalised_over_the_live():
    found = batch_normalised(jnp.asarray(X), jnp.asarray(LIVE), eps=0.5)
    live = X[LIVE]
    close(found[LIVE], (live - live.mean()) / (live.std(ddof=1) + 0.5))
    assert found[3] == 0


def test_one_live_sequence_and_none_are_finite():
    for live in ([True, False], [False, False]):
        found = batch_normalised(jnp.array([2.0, 3.0]), jnp.array(live), eps=0.0)
        np.testing.assert_array_equal(found, [0, 0])


def test_prompts_keep_their_scale(variant):
    rewards = jnp.array([1.0, 0, 4, 0, 99])
    group, live = jnp.array([0, 0, 1, 1, 4]), jnp.array([True] * 4 + [False])
    found = variant(partial(batch_scaled, num_groups=5, ddof=0, eps=0.0))(
        rewards, group, live
    )
    std = np.std([1, 0, 4, 0])
    close(found[:4], np.array([0.5, -0.5, 2, -2]) / std)


def test_a_large_reward_does_not_hide_a_small_one():
    rewards = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 100.0]])
    group = jnp.zeros(3, int)
    found = decoupled_normalised(rewards, group, jnp.array([1.0, 0.5]), num_groups=1)
    columns = [
        group_normalised(rewards[:, i], group, num_groups=1, eps=1e-4) for i in (0, 1)
    ]
    close(found, columns[0] + 0.5 * columns[1])


def test_a_reward_that_does_not_apply_is_left_out():
    rewards = jnp.array([[1.0, 7.0], [0.0, 1.0], [0.5, 0.0]])
    group, number = jnp.zeros(3, int), 4
    apart = set_apart(group, jnp.array([False, True, True]), num_groups=1)
    groups = jnp.stack([group, apart], axis=1)
    shares = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    found = decoupled_normalised(rewards, groups, shares, num_groups=number, ddof=0)
    first = group_normalised(rewards[:, 0], group, num_groups=1, ddof=0, eps=1e-4)
    close(found, first + jnp.array([0, 0.5, -0.5]) / (0.5 + 1e-4))


def test_silent_samples_are_made_up_for():
    advantages = jnp.array([1.0, -1.0, 0.0, 0.0, 0.0])
    live = jnp.array([True, True, True, True, False])
    found = informative_rescaled(advantages, advantages != 0, live)
    np.testing.assert_array_equal(found, [2, -2, 0, 0, 0])
    silent = informative_rescaled(0 * advantages, advantages > 9, live)
    np.testing.assert_array_equal(silent, np.zeros(5))


def test_prompts_weigh_the_same_and_the_batch_as_much_as_before():
    group = jnp.array([0, 0, 0, 1, 1, 5, 6])
    live = jnp.array([True, True, True, True, False, True, False])
    share = np.asarray(equal_prompts(group, live))
    close([share[:3].sum(), share[3], share[5]], [5 / 3] * 3)
    np.testing.assert_array_equal(share[[4, 6]], [0, 0])


def test_signs_are_weighed_apart():
    found = sign_weighted(jnp.array([2.0, 0.0, -2.0]))
    close(found, [0.2, 0, -2])
