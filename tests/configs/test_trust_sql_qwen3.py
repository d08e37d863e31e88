"""TRUST-SQL on directories as they are published, with databases of our own."""

import dataclasses
import importlib
from pathlib import Path

import pytest

from jaxrl.config import (
    CheckpointConfig,
    Demonstrations,
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
)
from jaxrl.errors import UserError
from jaxrl.methods.sft import Sft
from jaxrl.metrics import read_lines
from jaxrl.overrides import load
from jaxrl.quickstart import write_policy
from jaxrl.small.sql import ARCHITECTURE, small_tokenizer
from jaxrl.tasks.sql.generate import write_databases
from jaxrl.tasks.sql.slips import TABLES, answering, exploring
from jaxrl.train import train
from tests import tiny

CONFIG = Path(__file__).parents[2] / "configs" / "trust_sql_qwen3.py"
SMALL = dataclasses.replace(ARCHITECTURE, num_layers=1, hidden_size=32, mlp_size=32)
LIMITS = {"max_prompt_tokens": 192, "max_new_tokens": 16}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "x"
    write_databases(path, seed=0, databases=6)
    return path


def databases_of(problems):
    return {problem.extra["db_id"] for problem in problems}


@pytest.mark.parametrize("variable", ["BIRD_DIR", "SPIDER_DIR"])
def test_databases_are_trained_on_or_held_out(published, monkeypatch, variable):
    monkeypatch.setenv(variable, str(published))
    trained = databases_of(load(CONFIG).data.problems)
    held_out = databases_of(importlib.import_module("configs.trust_sql_qwen3").HELD_OUT)
    assert len(trained) == len(held_out) == 1
    assert not trained & held_out


@pytest.mark.parametrize("variable", ["BIRD_DIR", "SPIDER_DIR"])
def test_a_directory_without_questions_is_named(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(UserError, match=rf"can't read {tmp_path}.*tables.json"):
        load(CONFIG)


def plainly(output):
    return {
        "mesh": MeshConfig(fsdp=1),
        "checkpoint": CheckpointConfig(every=0),
        "logging": LoggingConfig(progress=False),
        "output": output,
    }


def warmed_up(tmp_path, problems):
    """A tiny policy that looks for tables every other time; then its answers run."""
    look = [
        {"role": "assistant", "content": exploring(TABLES)},
        {"role": "tool", "content": "name\nx"},
    ]
    runs, fails = (
        {"role": "assistant", "content": answering(f"SELECT {what}")} for what in "1x"
    )
    shown = [
        dataclasses.replace(problem, id=f"{problem.id}-{len(said)}", answer=said)
        for problem in problems[:4]
        for said in ([fails], [*look, runs])
    ]
    write_policy(tmp_path / "random", SMALL, small_tokenizer(), seed=0)
    config = RunConfig(
        name="warmup",
        data=Demonstrations(shown, batch_size=8),
        method=Sft(),
        model=ModelConfig(path=tmp_path / "random"),
        optimizer=OptimizerConfig(learning_rate=1e-2),
        steps=60,
        **plainly(tmp_path),
    )
    return train(config).directory / "model"


@pytest.mark.slow
def test_a_tiny_policy_is_trained_on_a_published_directory(
    published, tmp_path, monkeypatch
):
    monkeypatch.setenv("BIRD_DIR", str(published))
    config = load(CONFIG)
    with tiny.cached_compilation():
        policy = warmed_up(tmp_path, config.data.problems)
        sizes = {"prompts_per_step": 2, "samples_per_prompt": 4}
        config = dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, **sizes, **LIMITS),
            model=dataclasses.replace(config.model, path=policy, dtype="float32"),
            optimizer=OptimizerConfig(learning_rate=1e-3),
            steps=2,
            **plainly(tmp_path),
        )
        rows = read_lines(train(config).directory / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row["reward_failures"] == row["skipped"] == 0
        assert 1 < row["turns"] <= 10
        assert 0 < row["reward"] < 1
        assert row["grad_norm"] > 0
        assert row["logp_gap"] < 1e-4
