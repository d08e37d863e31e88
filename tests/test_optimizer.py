"""Schedules, clipping, and what decays."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl.config import OptimizerConfig
from jaxrl.optimizer import decayed, learning_rate, make_optimizer
from tests import tiny


@pytest.fixture(autouse=True)
def _standard_promotion():
    """As `jaxrl.step` runs optax, which relies on promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def rates(updates, **fields):
    schedule = learning_rate(OptimizerConfig(learning_rate=0.8, **fields), updates)
    return np.array([float(schedule(i)) for i in range(updates)])


def test_without_warmup_a_constant_rate_is_the_peak():
    np.testing.assert_allclose(rates(5), 0.8)


def test_the_warmup_rises_from_the_first_update_to_the_peak():
    found = rates(6, warmup_steps=4)
    np.testing.assert_allclose(found, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)


def test_one_step_of_warmup_is_the_peak_at_once():
    np.testing.assert_allclose(rates(3, warmup_steps=1), 0.8, rtol=1e-6)


def test_a_warmup_longer_than_the_run_is_only_cut_off():
    np.testing.assert_allclose(rates(2, warmup_steps=4), [0.2, 0.4], rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "middle"), [("linear", 0.5), ("cosine", 0.5), ("constant", 1.0)]
)
def test_the_decay_ends_at_its_fraction_of_the_peak(schedule, middle):
    fields = {"schedule": schedule, "warmup_steps": 2, "final_fraction": 0.25}
    found = rates(22, **fields)
    assert found.argmax() in (1, 2)
    np.testing.assert_allclose(found[:2], [0.4, 0.8], rtol=1e-6)
    # Half-way between peak and end, after half of what follows the warm-up.
    np.testing.assert_allclose(found[12], 0.8 * (0.25 + 0.75 * middle), rtol=1e-6)
    after = float(learning_rate(OptimizerConfig(0.8, **fields), 22)(22))
    np.testing.assert_allclose(after, 0.8 if middle == 1 else 0.2, rtol=1e-6)


def update(config, grads, params):
    optimizer = make_optimizer(config, 10)
    return optimizer.update(grads, optimizer.init(params), params)[0]


def test_the_first_update_is_adams():
    params = {"kernel": jnp.ones(3)}
    grads = {"kernel": jnp.array([0.1, -0.2, 0.0])}
    config = OptimizerConfig(learning_rate=0.5, clip_norm=0, eps=0.1)
    found = update(config, grads, params)["kernel"]
    expected = -0.5 * np.array([0.1, -0.2, 0.0]) / (np.array([0.1, 0.2, 0.0]) + 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_critic_has_a_rate_of_its_own():
    params = {"kernel": jnp.ones(3), "critic": {"kernel": jnp.ones(3)}}
    grads = jax.tree.map(lambda x: 0.1 * x, params)
    fields = {"learning_rate": 0.5, "clip_norm": 1.0}
    same = update(OptimizerConfig(**fields), grads, params)
    np.testing.assert_array_equal(same["critic"]["kernel"], same["kernel"])
    found = update(OptimizerConfig(**fields, critic_learning_rate=2.0), grads, params)
    np.testing.assert_array_equal(found["kernel"], same["kernel"])
    np.testing.assert_allclose(found["critic"]["kernel"], 4 * same["kernel"], rtol=1e-6)
    # Without a critic, its rate moves nothing.
    alone = update(
        OptimizerConfig(**fields, critic_learning_rate=2.0),
        {"kernel": grads["kernel"]},
        {"kernel": params["kernel"]},
    )
    assert np.sign(alone["kernel"]).tolist() == [-1.0] * 3


def test_clipping_bounds_the_global_norm():
    # With a large epsilon, Adam's update is proportional to the clipped gradient.
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    grads = {"a": jnp.array([30.0]), "b": jnp.array([40.0])}
    scaled = {"learning_rate": 1e6, "eps": 1e6}
    clipped = update(OptimizerConfig(clip_norm=5.0, **scaled), grads, params)
    whole = update(OptimizerConfig(clip_norm=0, **scaled), grads, params)
    loose = update(OptimizerConfig(clip_norm=60.0, **scaled), grads, params)
    np.testing.assert_allclose(optax.tree.norm(clipped), 5.0, rtol=1e-4)
    np.testing.assert_allclose(clipped["b"] / clipped["a"], 4 / 3, rtol=1e-4)
    np.testing.assert_allclose(optax.tree.norm(whole), 50.0, rtol=1e-3)
    chex.assert_trees_all_close(loose, whole)


def test_weight_decay_acts_on_matrices_only():
    params = tiny.params()
    zeros = jax.tree.map(jnp.zeros_like, params)
    config = OptimizerConfig(learning_rate=0.5, weight_decay=0.1)
    found = update(config, zeros, params)
    expected = jax.tree.map(lambda x, d: -0.05 * x * d, params, decayed(params))
    chex.assert_trees_all_close(found, expected, rtol=1e-6)
    spared = [
        jax.tree_util.keystr(path)
        for path, on in jax.tree_util.tree_leaves_with_path(decayed(params))
        if not on
    ]
    assert len(spared) == 5  # Two norms of the layer, two of the heads, the last one.
    assert all("norm" in name for name in spared)
