"""Runs that train adapters: what moves, what is kept, what is written."""

import dataclasses
import operator

import chex
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from jaxrl.adapters import adapted, trainable
from jaxrl.config import (
    CheckpointConfig,
    EvaluationConfig,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    Rollouts,
    RunConfig,
)
from jaxrl.critic import with_critic
from jaxrl.inference import evaluate, export
from jaxrl.methods.grpo import Grpo
from jaxrl.methods.ppo import Ppo
from jaxrl.policy import load_others, load_policy
from jaxrl.setup import prepare
from jaxrl.train import train
from models.config import Lora
from models.lora import combined
from tests import tiny, tiny_rewards
from tests.tiny_runs import metrics

LORA = Lora(rank=2, alpha=4.0)

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    directory = tmp_path_factory.mktemp("adapters")
    return RunConfig(
        name="whole",
        data=Rollouts(
            tiny.problems(10),
            reward=tiny_rewards.share_of_digits,
            prompts_per_step=4,
            samples_per_prompt=4,
            max_prompt_tokens=6,
            max_new_tokens=12,
            reward_workers=0,
        ),
        method=Grpo(kl_coef=0.01),
        model=ModelConfig(path=tiny.write_policy(directory / "policy"), lora=LORA),
        optimizer=OptimizerConfig(learning_rate=3e-2, micro_batches=2),
        evaluation=EvaluationConfig(
            problems=tiny.problems(3, seed=1), reward=tiny_rewards.share_of_digits
        ),
        checkpoint=CheckpointConfig(every=2),
        logging=LoggingConfig(progress=False),
        steps=4,
        output=directory,
    )


@pytest.fixture(scope="module")
def run(config):
    return train(config)


def tensors(directory):
    return load_file(directory / "model.safetensors")


def test_the_policy_that_samples_is_the_one_that_is_trained(run):
    trained = [row for row in metrics(run.directory) if "loss" in row]
    assert [row["skipped"] for row in trained] == [0] * 4
    assert max(row["logp_gap"] for row in trained) < 1e-4
    assert trained[0]["ref_kl"] == pytest.approx(0, abs=1e-6)
    assert trained[-1]["ref_kl"] > 1e-4


def test_only_targets_change_and_transformers_reads_the_export(run, config):
    before, after = tensors(config.model.path), tensors(run.directory / "model")
    assert before.keys() == after.keys()
    for name, value in after.items():
        changed = (value != before[name]).any()
        assert changed == name.endswith("_proj.weight"), name
    AutoModelForCausalLM.from_pretrained(run.directory / "model")


def test_the_adapter_and_the_start_are_the_export(run, config):
    found = load_file(run.directory / "adapter" / "adapter_model.safetensors")
    before, after = tensors(config.model.path), tensors(run.directory / "model")
    for name in before:
        if name.endswith("_proj.weight"):
            at = f"base_model.model.{name.removesuffix('.weight')}"
            change = found[f"{at}.lora_B.weight"] @ found[f"{at}.lora_A.weight"]
            expected = before[name] + LORA.scale * change
            np.testing.assert_allclose(after[name], expected, rtol=0, atol=1e-6)


def test_checkpoints_hold_adapters_alone(run, config):
    policy = load_policy(config)
    state = prepare(config, policy, load_others(config, policy)).state
    for path, _ in jax.tree_util.tree_leaves_with_path(state.params):
        assert path[-1].key in ("lora_a", "lora_b")
    trained = sum(x.size for x in jax.tree.leaves(state.params))
    moments = [x for x in jax.tree.leaves(state.opt_state) if x.ndim]
    assert sum(x.size for x in moments) == 2 * trained
    files = (run.directory / "checkpoints" / "4" / "state").rglob("*")
    assert not [path for path in files if "kernel" in path.name]


def test_the_reference_is_what_the_policy_has_frozen(config):
    policy = load_policy(config)
    others = load_others(config, policy)
    frozen, _ = trainable(policy.params)
    assert others.reference is not None
    same = jax.tree.map(operator.is_, others.reference.params, frozen)
    assert jax.tree.all(same)
    assert others.reference.model.config.lora is None


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(run, config):
    part = dataclasses.replace(config, name="part", steps=2)
    train(part)
    checkpoint = dataclasses.replace(config.checkpoint, resume=True)
    whole = train(dataclasses.replace(part, steps=4, checkpoint=checkpoint))
    chex.assert_trees_all_equal(
        tensors(whole.directory / "model"), tensors(run.directory / "model")
    )
    assert whole.accuracy_after == run.accuracy_after


def test_a_run_is_exported_and_evaluated_as_it_was(run, config, tmp_path):
    export(run.directory, tmp_path / "out")
    # Merged on one device here and on eight there, which round sums differently.
    chex.assert_trees_all_close(
        tensors(tmp_path / "out"),
        tensors(run.directory / "model"),
        rtol=0,
        atol=1e-7,
    )
    assert evaluate(config, run.directory).accuracy == run.accuracy_after


@pytest.mark.slow
def test_a_critic_shares_what_is_frozen(config):
    _, params = adapted(tiny.MODEL, tiny.params(), LORA)
    whole = with_critic(params)
    frozen, trained = trainable(whole)
    assert frozen["critic"]["layers"] is frozen["layers"]
    assert trained["critic"].keys() == {"layers", "value"}
    chex.assert_trees_all_equal(combined(frozen, trained), whole)
    summary = train(dataclasses.replace(config, name="critic", method=Ppo(), steps=2))
    export(summary.directory, config.output / "critic_model")
    assert [row["skipped"] for row in metrics(summary.directory) if "loss" in row] == [
        0,
        0,
    ]


def test_without_adapters_everything_is_trained():
    params = tiny.params()
    frozen, trained = trainable(params)
    assert frozen == {}
    assert trained is params
