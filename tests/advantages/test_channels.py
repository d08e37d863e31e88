"""Two tracks and step scores: oracles of agentic.md 3 and 6."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.channels import added, magnified, outcome_scores, track
from jaxrl.advantages.groups import group_normalised
from jaxrl.advantages.steps import first_of
from jaxrl.advantages.zscore import zscore

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)
ANSWER = [1.090263, 0.882594, -0.778760, -1.194098]
SCHEMA = [1.732047, -0.577349, -0.577349, -0.577349]


def credit(rewards, counted=None, **options):
    rewards = jnp.array(rewards)
    counted = jnp.ones_like(rewards, bool) if counted is None else jnp.array(counted)
    group = jnp.zeros_like(rewards, int)
    return track(rewards, counted, group, num_groups=1, **options)


def test_oracle_of_both_tracks_and_their_variants():
    answer, schema = credit([1.1, 1.0, 0.2, 0.0]), credit([1.0, 0.0, 0.0, 0.0])
    close(answer, ANSWER)
    close(schema, SCHEMA)
    routed = jnp.array([[True, False]] * 4)
    pair = partial(jnp.repeat, repeats=2, axis=1)
    both = [pair(x[:, None]) for x in (answer, schema)]
    found = added(*both, routed, weight=0.25)
    close(found[:, 0], [1.523275, 0.738257, -0.923097, -1.338435])
    close(found[:, 1], ANSWER)
    rewards = pair(jnp.array([[1.0], [0.0], [0.0], [0.0]]))
    found = magnified(both[0], rewards, routed, weight=0.25)
    close(found[:, 0], [1.362829, 0.882594, -0.778760, -1.194098])
    close(found[:, 1], ANSWER)


def test_oracle_of_an_aborted_rollout():
    counted = [True, True, False, True]
    nan = float("nan")
    close(credit([1.1, 0.3, nan, 0.1], counted), [1.388727, -0.462909, 0, -0.925818])
    close(credit([1.0, 0.0, nan, 0.0], counted), [1.414211, -0.707105, 0, -0.707105])


def test_one_valid_rollout_is_worth_nothing():
    found = credit([1.0, 0.5], [True, False])
    np.testing.assert_array_equal(found, np.zeros(2))


def test_one_success_of_many_is_limited():
    rewards = [1.0, *[0.0] * 199]
    close(credit(rewards, limit=100.0)[0], 14.1067)
    close(credit(rewards)[0], 10.0)
    close(credit([-x for x in rewards])[0], -10.0)


def test_track_is_grpo_without_its_limit():
    rewards, group = jnp.array([0.3, 1.0, -2.0, 0.5]), jnp.array([0, 1, 0, 1])
    found = track(rewards, group >= 0, group, num_groups=2)
    close(found, group_normalised(rewards, group, num_groups=2, ddof=0))


@pytest.mark.parametrize(
    ("scale", "ddof", "expected"),
    [
        (1, 0, [0.879295, 0.679455, 0.879295, -1.318943, -1.119103]),
        (1, 1, [0.786466, 0.607723, 0.786466, -1.179698, -1.000956]),
        (10, 0, [0.823249, 0.802872, 0.823249, -1.234874, -1.214497]),
    ],
)
def test_hipif_oracle(scale, ddof, expected):
    scores = scale * jnp.array([1.0, 1, 1, 0, 0]) - jnp.array([0, 0.1, 0, 0.1, 0])
    group = jnp.zeros(5, int)
    close(zscore(scores, group == 0, group, num_pools=1, ddof=ddof), expected)


def test_outcomes_may_count_once_per_episode():
    """Two episodes, R = 1 and 0: mean and deviation are 0.5 whatever their lengths."""
    outcomes = jnp.array([1.0, 1, 1, 0, 0])
    penalties = -jnp.array([0, 0.1, 0, 0.1, 0])
    first = first_of(jnp.array([0, 0, 0, 1, 1]))
    group = jnp.zeros(5, int)
    found = outcome_scores(outcomes, penalties, first, group, num_groups=1)
    close(found, [1, 0.8, 1, -1.2, -1], atol=5e-6)


def test_equal_outcomes_need_a_floor():
    outcomes, penalties = jnp.zeros(3), jnp.array([0.0, -0.1, 0.0])
    group = jnp.zeros(3, int)
    credit = partial(outcome_scores, outcomes, penalties, group == 0, group)
    np.testing.assert_array_equal(credit(num_groups=1), np.zeros(3))
    close(credit(num_groups=1, floor=0.05, eps=0.0), [0, -2, 0])
