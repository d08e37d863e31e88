"""Whole runs of a tiny policy whose methods need more than its own samples."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxrl.cli import OK, main
from jaxrl.config import (
    CheckpointConfig,
    Demonstrations,
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    Preferences,
    Rollouts,
    RunConfig,
)
from jaxrl.divergences.top_k import forward_kl, reverse_kl
from jaxrl.errors import UserError
from jaxrl.methods.aopd import Aopd
from jaxrl.methods.bapo import Bapo
from jaxrl.methods.context_distillation import ContextDistillation
from jaxrl.methods.decoupled_ppo import DecoupledPpo
from jaxrl.methods.dpo import Dpo
from jaxrl.methods.dynamo import DynaMo
from jaxrl.methods.gkd import Gkd
from jaxrl.methods.grpo import Grpo
from jaxrl.methods.off_policy_context_distillation import OffPolicyContextDistillation
from jaxrl.methods.opd import Opd
from jaxrl.methods.ppo import Ppo
from jaxrl.methods.seq_kd import SeqKd
from jaxrl.metrics import read_lines
from jaxrl.rollout.client import ServedTeacher
from jaxrl.rollout.sharing import Allocation
from jaxrl.train import train
from tests import tiny, tiny_rewards
from tests.rollout.completions_server import MODEL, serving, status

STEPS = 3

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return tiny.write_policy(tmp_path_factory.mktemp("student") / "policy")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return tiny.write_policy(tmp_path_factory.mktemp("teacher") / "policy", seed=7)


def unchanged(problem):
    return problem


def hinted(problem):
    """The same problem, behind two more characters."""
    return dataclasses.replace(problem, prompt=f"9+{problem.prompt}")


ROLLOUTS = Rollouts(
    tiny.problems(6),
    reward=tiny_rewards.share_of_digits,
    prompts_per_step=4,
    samples_per_prompt=4,
    max_prompt_tokens=6,
    max_new_tokens=8,
    reward_workers=0,
)


@pytest.fixture
def run(policy, tmp_path):
    """Train some steps; returns the metrics of each and the run's directory."""

    def run(method, data=ROLLOUTS, *, steps=STEPS, resume=False, rate=1e-2, **model):
        config = RunConfig(
            name="run",
            mesh=MeshConfig(fsdp=1),
            data=data,
            method=method,
            model=ModelConfig(path=policy, **model),
            optimizer=OptimizerConfig(learning_rate=rate, micro_batches=2),
            checkpoint=CheckpointConfig(every=1, keep=8, resume=resume),
            logging=LoggingConfig(progress=False),
            steps=steps,
            output=tmp_path,
        )
        directory = train(config).directory
        return read_lines(directory / "metrics.jsonl"), directory

    return run


def weights(directory):
    return load_file(directory / "model.safetensors")


def encode(text):
    """The server's tokenizer is the policy's."""
    return tiny.tokenizer().encode(text, add_special_tokens=False)


def some_fail(prompt, earlier):
    """Every fourth sequence gets no answer; the probes before training do."""
    del earlier
    sampled = isinstance(prompt, list) and len(prompt) < 20
    return status(500) if sampled and sum(prompt) % 4 == 0 else None


def assert_learnt(directory, policy):
    before, after = weights(policy), weights(directory / "model")
    assert before.keys() == after.keys()
    assert all(np.isfinite(x).all() for x in after.values())
    assert any((before[name] != after[name]).any() for name in before)


def test_a_policy_comes_closer_to_its_teacher(run, teacher):
    """Full vocabulary, in expectation over few samples: the divergence must fall."""
    method = Gkd(top_k=16, divergence=forward_kl)
    rows, _ = run(method, steps=8, rate=3e-2, teacher_path=teacher)
    assert rows[-1]["divergence"] < 0.8 * rows[0]["divergence"]
    assert all(row["divergence"] > 0 for row in rows)


def test_a_policy_that_is_its_teacher_stays(run, policy):
    rows, directory = run(Gkd(top_k=16), teacher_path=policy, rate=1e-4)
    assert abs(rows[0]["divergence"]) < 1e-6
    before, after = weights(policy), weights(directory / "model")
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-3)


def test_policy_gradient_and_imitation_go_together(run, teacher, policy):
    rows, directory = run(Aopd(top_k=4), teacher_path=teacher)
    assert {"divergence", "logp_gap", "reward"} <= rows[0].keys()
    assert_learnt(directory, policy)


def test_the_student_chooses_the_tokens_to_compare_on(run, teacher, policy):
    method = Gkd(top_k=4, student_top=True, divergence=reverse_kl)
    rows, directory = run(method, teacher_path=teacher)
    assert rows[0]["divergence"] != 0
    assert_learnt(directory, policy)


def test_a_teacher_that_samples_is_imitated(run, teacher):
    data = dataclasses.replace(ROLLOUTS, teacher_share=1.0)
    rows, _ = run(SeqKd(), data, steps=8, rate=3e-2, teacher_path=teacher)
    assert rows[-1]["nll"] < 0.9 * rows[0]["nll"]


def test_a_teacher_with_all_shares_always_samples(run, teacher):
    data = dataclasses.replace(ROLLOUTS, teacher_share=1.0)
    rows, _ = run(Opd(), data, rate=0.0, teacher_path=teacher)
    assert all(abs(row["logp_gap"]) > 1e-3 for row in rows)


def test_teacher_and_policy_take_turns(run, teacher):
    """The gap between who sampled and who is trained tells whose turn it was."""
    data = dataclasses.replace(ROLLOUTS, teacher_share=0.5)
    rows, _ = run(Opd(), data, steps=8, rate=0.0, teacher_path=teacher)
    own = [abs(row["logp_gap"]) < 1e-4 for row in rows]
    assert 0 < sum(own) < len(own)


def test_a_distribution_of_demonstrations_can_be_learnt(run, teacher, policy):
    """Word-level distillation on a fixed corpus."""
    data = Demonstrations(tiny.problems(6), batch_size=4)
    rows, directory = run(Gkd(top_k=16), data, teacher_path=teacher)
    assert rows[0]["divergence"] > 0
    assert_learnt(directory, policy)


def test_a_context_moves_into_the_weights(run, policy):
    data = dataclasses.replace(ROLLOUTS, other_context=hinted)
    rows, directory = run(Gkd(top_k=16), data, steps=8, rate=5e-3)
    assert rows[-1]["divergence"] < 0.9 * rows[0]["divergence"]
    assert_learnt(directory, policy)


def test_a_context_that_changes_nothing_teaches_nothing(run):
    data = dataclasses.replace(ROLLOUTS, other_context=unchanged)
    rows, directory = run(ContextDistillation(), data, rate=0.0)
    assert all(row["grad_norm"] < 1e-4 for row in rows)
    shutil.rmtree(directory)
    data = dataclasses.replace(ROLLOUTS, other_context=hinted)
    rows, _ = run(ContextDistillation(), data, rate=0.0)
    assert all(row["grad_norm"] > 1e-2 for row in rows)


def test_a_context_with_its_own_samples_is_learnt_off_policy(run):
    data = dataclasses.replace(ROLLOUTS, other_context=hinted, teacher_share=1.0)
    method = OffPolicyContextDistillation(top_k=16)
    rows, _ = run(method, data, steps=8, rate=5e-3)
    assert rows[-1]["divergence"] < 0.9 * rows[0]["divergence"]


def test_a_critic_learns_beside_the_policy(run, policy, tmp_path):
    rows, directory = run(Ppo(), steps=6)
    assert rows[-1]["value_error"] < rows[0]["value_error"]
    assert_learnt(directory, policy)
    # The critic is checkpointed: a run in two halves ends where a whole one does.
    whole = weights(directory / "model")
    shutil.rmtree(directory / "model")
    for step in (4, 5, 6):
        shutil.rmtree(directory / "checkpoints" / str(step))
    run(Ppo(), steps=6, resume=True)
    again = weights(directory / "model")
    assert all((again[name] == whole[name]).all() for name in whole)
    # What `export` writes of the checkpoint is the policy without it.
    assert main(["export", str(directory), str(tmp_path / "out")]) == OK
    exported = weights(tmp_path / "out")
    assert exported.keys() == whole.keys()
    assert all((exported[name] == whole[name]).all() for name in whole)


def test_pairs_of_texts_are_told_apart(run):
    data = Preferences(
        [
            dataclasses.replace(problem, answer="1", extra={"rejected": "77"})
            for problem in tiny.problems(6)
        ],
        batch_size=4,
    )
    rows, _ = run(Dpo(), data, steps=8)
    assert rows[0]["loss"] == pytest.approx(np.log(2), abs=1e-4)
    assert rows[-1]["loss"] < 0.9 * np.log(2)
    assert rows[0]["tokens"] == 4 * (2 + 3)


def test_samples_are_paired_by_their_reward(run, policy):
    rows, directory = run(Dpo())
    assert rows[0]["loss"] == pytest.approx(rows[0]["pairs"] / 4 * np.log(2), abs=1e-4)
    assert 0 < rows[0]["pairs"] <= ROLLOUTS.prompts_per_step
    assert_learnt(directory, policy)


def test_samples_are_allocated_and_remembered(run):
    data = dataclasses.replace(
        ROLLOUTS, allocation=Allocation(lowest=2, highest=8, initial=2, refresh_every=2)
    )
    rows, directory = run(DynaMo(), data, steps=6)
    assert all(2 <= row["samples_min"] <= 4 <= row["samples_max"] <= 8 for row in rows)
    assert any(row["samples_min"] < row["samples_max"] for row in rows)
    whole = weights(directory / "model")
    shutil.rmtree(directory / "model")
    for step in (4, 5, 6):
        shutil.rmtree(directory / "checkpoints" / str(step))
    run(DynaMo(), data, steps=6, resume=True)
    again = weights(directory / "model")
    assert all((again[name] == whole[name]).all() for name in whole)


def level(problem, text):
    return 1.0


def brief(lengths):
    return -0.1 * lengths


def test_a_length_penalty_tells_equal_rewards_apart(run):
    data = dataclasses.replace(ROLLOUTS, reward=level)
    rows, directory = run(Grpo(), data, rate=0.0)
    assert all(row["grad_norm"] == 0 for row in rows)
    shutil.rmtree(directory)
    rows, _ = run(Grpo(), dataclasses.replace(data, length_penalty=brief), rate=0.0)
    assert all(row["grad_norm"] > 1e-3 for row in rows)
    # What is logged is the reward itself.
    assert {row["reward"] for row in rows} == {1.0}


@pytest.mark.parametrize("method", [DecoupledPpo(), Bapo()])
def test_the_policy_an_update_starts_from_is_known(run, policy, method):
    """BAPO also carries bounds of the whole batch into its two micro-batches."""
    rows, directory = run(method)
    assert rows[0]["reward"] > 0
    assert_learnt(directory, policy)


def test_a_served_teacher_trains_and_its_failures_are_counted(run, policy):
    with serving(fault=some_fail, encode=encode) as server:
        teacher = ServedTeacher(server.url, MODEL, attempts=1, deadline=20.0)
        rows, directory = run(Aopd(top_k=3), teacher_server=teacher)
    assert {0 <= row["teacher_failures"] < 16 for row in rows} == {True}
    assert sum(row["teacher_failures"] for row in rows) > 0
    assert rows[0]["divergence"] != 0
    assert_learnt(directory, policy)


def test_a_served_teacher_may_see_another_context(run):
    data = dataclasses.replace(ROLLOUTS, other_context=hinted)
    with serving(encode=encode) as server:
        teacher = ServedTeacher(server.url, MODEL)
        rows, _ = run(ContextDistillation(), data, rate=0.0, teacher_server=teacher)
        asked = [body["prompt"] for _, _, body in server.requests if body]
    assert all(row["grad_norm"] > 1e-2 for row in rows)
    sampled = [prompt for prompt in asked if isinstance(prompt, list)]
    assert sum(prompt[:2] == encode("9+") for prompt in sampled) == STEPS * 16


def test_a_teacher_with_other_tokens_is_refused_before_training(run, tmp_path):
    other = tiny.write_policy(tmp_path / "other")
    file = other / "tokenizer.json"
    words = json.loads(file.read_text())
    vocabulary = words["model"]["vocab"]
    vocabulary["1"], vocabulary["2"] = vocabulary["2"], vocabulary["1"]
    file.write_text(json.dumps(words))
    with pytest.raises(UserError, match="have different tokenizers"):
        run(Opd(), teacher_path=other)
