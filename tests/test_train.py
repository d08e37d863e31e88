"""Whole runs of a tiny policy: what they write, and how they are interrupted."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxrl.checkpoint import Checkpoints
from jaxrl.cli import INTERRUPTED, MISTAKE, TRY_AGAIN, main
from jaxrl.config import (
    CheckpointConfig,
    EvaluationConfig,
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    Rollouts,
    RunConfig,
)
from jaxrl.errors import UserError
from jaxrl.methods.grpo import Grpo
from jaxrl.metrics import read_lines
from jaxrl.rollout.filtering import informative
from jaxrl.train import train
from tests import tiny, tiny_rewards
from tests.tiny_runs import exported, metrics

REPOSITORY = Path(__file__).parents[1]
STEPS, STOPPED, WARM = 34, 13, 14

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return tiny.write_policy(tmp_path_factory.mktemp("checkpoint") / "policy")


@pytest.fixture(scope="module")
def config(policy, tmp_path_factory):
    return RunConfig(
        name="whole",
        mesh=MeshConfig(fsdp=1),
        data=Rollouts(
            tiny.problems(10),
            reward=tiny_rewards.watched,
            prompts_per_step=4,
            samples_per_prompt=4,
            max_prompt_tokens=6,
            max_new_tokens=48,
            reward_workers=0,
        ),
        method=Grpo(kl_coef=0.01),
        model=ModelConfig(path=policy),
        optimizer=OptimizerConfig(
            learning_rate=3e-3, micro_batches=2, minibatches=2, epochs=2
        ),
        evaluation=EvaluationConfig(
            problems=tiny.problems(3, seed=1),
            reward=tiny_rewards.share_of_digits,
            every=12,
        ),
        checkpoint=CheckpointConfig(every=10),
        logging=LoggingConfig(progress=False),
        steps=STEPS,
        output=tmp_path_factory.mktemp("runs"),
    )


def rewards_per_step(config):
    return config.data.prompts_per_step * config.data.samples_per_prompt


@pytest.fixture(scope="module")
def whole(config):
    """Summary of an uninterrupted run, and compilations before each step's rewards."""
    seen = []
    try:
        with tiny.compilations() as compiled:
            tiny_rewards.calls.append(lambda: seen.append(len(compiled)))
            summary = train(config)
    finally:
        tiny_rewards.calls.clear()
    return summary, seen[:: rewards_per_step(config)]


def test_a_run_leaves_everything_that_is_promised(whole, config):
    summary, _ = whole
    directory = summary.directory
    assert directory == config.directory
    files = ("config.json", "metrics.jsonl", "summary.json", "curves.png")
    for name in (*files, "transcripts.md", "model/config.json", "model/tokenizer.json"):
        assert (directory / name).stat().st_size > 0, name
    assert list((directory / "tensorboard").glob("events*"))
    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"30", "34"}
    assert not list(directory.glob("*.part"))
    written = json.loads((directory / "summary.json").read_text())
    assert written["steps"] == STEPS
    assert written["accuracy_after"] == summary.accuracy_after
    assert f"{STEPS} in" in str(summary)
    shown = (directory / "transcripts.md").read_text()
    assert shown.count("## Step ") == STEPS * config.logging.transcripts


def test_a_run_logs_each_step_and_each_evaluation(whole):
    rows = metrics(whole[0].directory)
    trained = [row for row in rows if "loss" in row]
    assert [row["step"] for row in trained] == list(range(1, STEPS + 1))
    evaluated = [row["step"] for row in rows if "heldout_accuracy" in row]
    assert evaluated == [0, 12, 24, 34]
    expected = {"reward", "ref_kl", "grad_norm", "response_tokens", "tokens"}
    assert expected <= trained[0].keys()
    assert all(row["skipped"] == 0 for row in trained)
    assert all(row["reward_failures"] == 0 for row in trained)


def test_sampler_and_trainer_agree_in_every_step(whole):
    gaps = [row["logp_gap"] for row in metrics(whole[0].directory) if "loss" in row]
    assert len(gaps) == STEPS
    assert max(gaps) < 1e-4


def test_training_raises_the_reward_and_moves_the_policy(whole, policy):
    rows = [row for row in metrics(whole[0].directory) if "reward" in row]
    rewards = [row["reward"] for row in rows]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.1
    start = load_file(policy / "model.safetensors")
    for name, value in exported(whole[0].directory).items():
        assert (value != start[name]).any(), name


def test_nothing_compiles_once_every_length_was_seen(whole):
    _, compiled = whole
    rows = [row for row in metrics(whole[0].directory) if "response_tokens" in row]
    assert len({row["response_tokens"] for row in rows[WARM:]}) > 15
    assert compiled[0] > 5
    assert STEPS - WARM >= 20
    assert compiled[WARM] == compiled[-1], compiled


@pytest.fixture(scope="module")
def stopped(whole, config):
    """A run that was interrupted inside of a step, between two checkpoints."""
    del whole
    config = dataclasses.replace(config, name="stopped")
    count = 0

    def stop():
        nonlocal count
        count += 1
        if count > STOPPED * rewards_per_step(config):
            raise KeyboardInterrupt

    tiny_rewards.calls.append(stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(config)
    finally:
        tiny_rewards.calls.clear()
    return config


def resumed(config, **fields):
    checkpoint = dataclasses.replace(config.checkpoint, resume=True)
    return dataclasses.replace(config, checkpoint=checkpoint, **fields)


def test_starting_anew_over_a_run_is_an_error(stopped):
    before = (stopped.directory / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"holds a run at step 10; add --resume"):
        train(stopped)
    assert (stopped.directory / "metrics.jsonl").read_bytes() == before


def test_resuming_with_another_config_names_the_field(stopped):
    with pytest.raises(UserError, match=r"seed is 5, was 0"):
        train(resumed(stopped, seed=5))
    optimizer = dataclasses.replace(stopped.optimizer, learning_rate=0.5)
    with pytest.raises(UserError, match=r"optimizer\.learning_rate is 0\.5"):
        train(resumed(stopped, optimizer=optimizer))


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(whole, stopped):
    assert metrics(stopped.directory)[-1]["step"] == STOPPED
    summary = train(resumed(stopped))
    expected = whole[0]
    assert metrics(stopped.directory) == metrics(expected.directory)
    chex.assert_trees_all_equal(
        exported(stopped.directory), exported(expected.directory)
    )
    assert summary.accuracy_before == expected.accuracy_before
    assert summary.accuracy_after == expected.accuracy_after
    shown = [d / "transcripts.md" for d in (stopped.directory, expected.directory)]
    assert shown[0].read_text() == shown[1].read_text()


def test_resuming_an_ended_run_exports_it_again(whole, config):
    before = exported(whole[0].directory)
    summary = train(resumed(config))
    chex.assert_trees_all_equal(exported(summary.directory), before)
    assert summary.accuracy_after == whole[0].accuracy_after
    assert len(list(summary.directory.glob("model.before_*"))) == 1


@dataclasses.dataclass(frozen=True)
class _BreaksOnce:
    """GRPO whose credit is not finite in the second step."""

    inner: Grpo = dataclasses.field(default_factory=Grpo)

    @property
    def needs(self):
        return self.inner.needs

    def credit(self, batch):
        found = self.inner.credit(batch)
        broken = jnp.where(jnp.max(batch.version) == 1, jnp.nan, found.advantages)
        return dataclasses.replace(found, advantages=broken)

    def loss(self, scores, batch, credit):
        return self.inner.loss(scores, batch, credit)


@pytest.fixture(scope="module")
def eventful(config):
    """A packed run with failing rewards, filtered groups and a broken step."""
    data = dataclasses.replace(
        config.data,
        reward=tiny_rewards.fails_or_constant,
        packed=True,
        filter=informative,
        max_new_tokens=16,
    )
    config = dataclasses.replace(
        config,
        name="eventful",
        data=data,
        method=_BreaksOnce(),
        optimizer=OptimizerConfig(learning_rate=3e-3, micro_batches=3),
        evaluation=EvaluationConfig(),
        steps=4,
    )
    return train(config)


def test_a_packed_run_counts_failed_rewards_and_filtered_groups(eventful):
    rows = read_lines(eventful.directory / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    failures = [row["reward_failures"] for row in rows]
    assert all(count % 4 == 0 for count in failures)
    assert sum(failures) > 0
    assert sum(row["filtered_groups"] for row in rows) > sum(failures) / 4
    for row in rows:
        # What failed or was filtered out is not trained.
        most = 16 * 4 * (4 - row["filtered_groups"])
        assert row["tokens"] <= most
    assert any(row["tokens"] > 0 for row in rows)
    assert max(row["logp_gap"] or 0 for row in rows if not row["skipped"]) < 1e-4
    assert eventful.accuracy_before is None
    assert "not evaluated" in str(eventful)


def test_a_step_that_is_not_finite_is_kept_for_inspection_and_passed(eventful):
    rows = read_lines(eventful.directory / "metrics.jsonl")
    assert [row["skipped"] for row in rows] == [0, 1, 0, 0]
    assert rows[1]["loss"] is None
    assert all(np.isfinite(rows[i]["loss"]) for i in (0, 2, 3))
    [kept] = (eventful.directory / "skipped").iterdir()
    assert kept.name == "step_2.npz"
    with np.load(kept) as arrays:
        assert np.isnan(arrays["['credit'].advantages"]).any()
        assert arrays["['batch'].mask"].any()
    for value in exported(eventful.directory).values():
        assert np.isfinite(value).all()
    json.loads((eventful.directory / "summary.json").read_text(), parse_constant=int)


CONFIG = """
from pathlib import Path

from jaxrl.config import *
from jaxrl.methods.grpo import Grpo
from tests import tiny, tiny_rewards
from tests.tiny_runs import exported, metrics

config = RunConfig(
    name="killed",
    mesh=MeshConfig(fsdp=1),
    data=Rollouts(
        tiny.problems(10),
        reward=tiny_rewards.share_of_digits,
        prompts_per_step=2,
        samples_per_prompt=2,
        max_prompt_tokens=6,
        max_new_tokens=16,
    ),
    method=Grpo(),
    model=ModelConfig(path=Path({policy!r})),
    optimizer=OptimizerConfig(learning_rate=3e-3),
    checkpoint=CheckpointConfig(every=3),
    logging=LoggingConfig(progress=False),
    steps=30,
    output=Path({output!r}),
)
"""


def ended(path, run, moment, number):
    """Go on with a run in a process of its own, and send it a signal at a moment.

    Returns its exit status and what it printed.
    """
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": tiny.CACHE.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxrl", "train", str(path), "--resume"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    while process.poll() is None and not moment(run):
        time.sleep(0.001)
    process.send_signal(number)
    output = process.communicate()[0].decode()
    return process.returncode, output


def logged(step):
    return lambda run: any(row["step"] >= step for row in rows(run))


def saving(run):
    return any((run / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([saving, logged(11)], marks=pytest.mark.slow),
        pytest.param([logged(2), saving, saving, logged(23)], marks=pytest.mark.slow),
    ],
    ids=["twice", "often"],
)
def test_a_run_that_is_killed_ends_with_the_same_bits(policy, tmp_path, moments):
    path = tmp_path / f"killed_{len(moments)}_times.py"
    path.write_text(CONFIG.format(policy=str(policy), output=str(tmp_path / "runs")))
    run = tmp_path / "runs" / "killed"
    for moment in moments:
        status, output = ended(path, run, moment, signal.SIGKILL)
        assert status == -signal.SIGKILL, output
    assert main(["train", str(path), "--resume"]) == 0
    assert main(["train", str(path), "--name", "whole"]) == 0
    expected = run.with_name("whole")
    chex.assert_trees_all_equal(exported(run), exported(expected))
    assert metrics(run) == metrics(expected)


def test_a_run_that_is_preempted_saves_and_ends_with_the_same_bits(policy, tmp_path):
    path = tmp_path / "preempted.py"
    path.write_text(CONFIG.format(policy=str(policy), output=str(tmp_path / "runs")))
    run = tmp_path / "runs" / "killed"
    status, output = ended(path, run, logged(7), signal.SIGTERM)
    assert status == TRY_AGAIN, output
    reached = rows(run)[-1]["step"]
    assert 7 <= reached < 30
    assert output.splitlines()[-1] == (
        f"jaxrl: SIGTERM: {run} ended at step {reached}; --resume goes on from there"
    )
    checkpoints = Checkpoints(run / "checkpoints")
    assert checkpoints.latest() == reached
    checkpoints.close()
    assert main(["train", str(path), "--resume"]) == 0
    assert main(["train", str(path), "--name", "whole"]) == 0
    expected = run.with_name("whole")
    chex.assert_trees_all_equal(exported(run), exported(expected))
    assert metrics(run) == metrics(expected)


def rows(run):
    return read_lines(run / "metrics.jsonl")


def test_the_command_line_reports_mistakes_and_interruptions(
    policy, tmp_path, capsys, monkeypatch
):
    path = tmp_path / "config_with_a_mistake.py"
    path.write_text(CONFIG.format(policy=str(policy), output=str(tmp_path)))
    words = ["train", str(path), "--data.max-prompt-tokens", "3"]
    assert main(words) == MISTAKE
    assert "data.max_prompt_tokens is 3" in capsys.readouterr().err
    words = ["train", str(path), "--data.max-new-tokens", "1000"]
    assert main(words) == MISTAKE
    assert "the model takes 128 tokens" in capsys.readouterr().err

    def interrupt(problem, text):
        raise KeyboardInterrupt

    monkeypatch.setattr(tiny_rewards, "share_of_digits", interrupt)
    assert main(["train", str(path), "--data.reward-workers", "0"]) == INTERRUPTED
