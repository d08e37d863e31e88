"""Credit that remembers, against statistics over all rewards at once."""

import jax.numpy as jnp
import numpy as np

from jaxrl.advantages.history import History, smoothed_advantage, updated

GROUP = jnp.array([0, 1, 0, 1])
NEW = History(jnp.zeros(4, int), jnp.zeros(4), jnp.zeros(4))
FIRST = jnp.array([1.0, 0.0, 0.0, 2.0])
SECOND = jnp.array([1.0, 3.0, 2.0, 3.0])


def test_first_time_is_the_group_alone():
    found = updated(NEW, FIRST, GROUP, num_groups=2)
    assert found.times.tolist() == [1] * 4
    np.testing.assert_allclose(found.mean, [0.5, 1, 0.5, 1])
    np.testing.assert_allclose(found.std, [0.5**0.5, 2**0.5] * 2, rtol=1e-6)


def test_means_and_variances_pool():
    """Two times of equal weight: mean of means, variance within plus between."""
    found = updated(
        updated(NEW, FIRST, GROUP, num_groups=2), SECOND, GROUP, num_groups=2
    )
    np.testing.assert_allclose(found.mean, [1, 2, 1, 2])
    within, between = np.array([(0.5 + 0.5) / 2, (2 + 0) / 2]), np.array([0.25, 1])
    np.testing.assert_allclose(found.std[:2], np.sqrt(within + between), rtol=1e-6)


def test_the_calmer_mixture_wins():
    history = updated(NEW, FIRST, GROUP, num_groups=2)
    found = smoothed_advantage(history, SECOND, GROUP, num_groups=2, scale=False)
    # By the group -0.5, 0, 0.5, 0; by both times 0, 1, 1, 1; each weighs a half.
    np.testing.assert_allclose(found, [-0.25, 0.5, 0.75, 0.5], rtol=1e-6)


def test_mixtures_differ_from_the_third_time_on():
    once = updated(NEW, FIRST, GROUP, num_groups=2)
    twice = updated(once, FIRST, GROUP, num_groups=2)
    found = smoothed_advantage(twice, SECOND, GROUP, num_groups=2, scale=False)
    # By the group z, by all three times z' = R - (1 + 1.5) / 3 and R - 5 / 3.
    own, pooled = np.array([-0.5, 0, 0.5, 0]), np.array([1, 8, 7, 8]) / 6
    mixtures = np.stack([(pooled + 2 * own) / 3, (own + 2 * pooled) / 3])
    calm = np.abs(mixtures).argmin(0)
    np.testing.assert_allclose(found, mixtures[calm, np.arange(4)], rtol=1e-5)


def test_equal_rewards_have_no_deviation_to_divide_by():
    found = smoothed_advantage(NEW, jnp.ones(4), GROUP, num_groups=2)
    assert found.tolist() == [0] * 4
