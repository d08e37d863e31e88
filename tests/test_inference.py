"""What one does with a policy without training it."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jaxrl.cli import MISTAKE, OK, main
from jaxrl.config import (
    Demonstrations,
    EvaluationConfig,
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
)
from jaxrl.errors import UserError
from jaxrl.inference import evaluate, export, sample
from jaxrl.methods.sft import Sft
from jaxrl.metrics import read_lines
from jaxrl.rollout.types import Sampling
from jaxrl.train import train
from tests import tiny, tiny_rewards

LIMIT = 12

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inference")
    return RunConfig(
        name="sft",
        mesh=MeshConfig(fsdp=1),
        data=Demonstrations(tiny.problems(12), batch_size=4),
        method=Sft(),
        model=ModelConfig(path=tiny.write_policy(directory / "policy")),
        optimizer=OptimizerConfig(learning_rate=1e-2),
        evaluation=EvaluationConfig(
            problems=tiny.problems(3, seed=1),
            reward=tiny_rewards.share_of_digits,
            max_new_tokens=LIMIT,
        ),
        logging=LoggingConfig(progress=False),
        steps=6,
        output=directory,
    )


@pytest.fixture(scope="module")
def run(config):
    """The directory of a supervised run."""
    return train(config).directory


def test_supervised_learning_lowers_the_loss(run):
    losses = [row["loss"] for row in read_lines(run / "metrics.jsonl") if "loss" in row]
    assert len(losses) == 6
    assert np.mean(losses[-2:]) < np.mean(losses[:2]) - 0.2


def test_evaluating_a_run_repeats_its_last_evaluation(run, config):
    found = evaluate(config, run)
    written = json.loads((run / "summary.json").read_text())
    assert found.accuracy == written["accuracy_after"]
    assert found.pass_at_k == {}
    assert [record.problem for record in found.records] == config.evaluation.problems


def test_samples_estimate_pass_and_majority(run, config):
    found = evaluate(config, run, samples=4)
    again = evaluate(config, run, samples=4)
    assert found == again
    assert list(found.pass_at_k) == list(found.maj_at_k) == [1, 2, 4]
    assert found.pass_at_k[4] >= found.pass_at_k[1]
    texts = [record.samples for record in found.records]
    assert all(len(group) == 4 for group in texts)
    assert any(len(set(group)) > 1 for group in texts)
    greedy = [record.greedy for record in evaluate(config, run).records]
    assert [record.greedy for record in found.records] == greedy


def test_without_held_out_problems_there_is_nothing_to_evaluate(run, config):
    config = dataclasses.replace(config, evaluation=EvaluationConfig())
    with pytest.raises(UserError, match=r"evaluation\.problems is empty"):
        evaluate(config, run)


def test_an_export_gives_the_same_greedy_answers_in_transformers(run, config, tmp_path):
    export(run, tmp_path / "export")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "export")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")
    for record in evaluate(config, tmp_path / "export").records:
        prompt = tokenizer(record.problem.prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            answer = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=LIMIT,
                do_sample=False,
                eos_token_id=tiny.EOS,
                pad_token_id=0,
            )[0, prompt.shape[1] :]
        text = tokenizer.decode(answer, skip_special_tokens=True)
        assert record.greedy == text


def test_sampling_streams_what_the_evaluation_answers(run, config):
    record = evaluate(config, run).records[0]
    sampling = Sampling(LIMIT, temperature=0.0)
    assert "".join(sample(run, record.problem.prompt, sampling)) == record.greedy


def test_seeds_name_the_sample(run):
    sampling = Sampling(40)
    found = ["".join(sample(run, "12", sampling, seed=seed)) for seed in (0, 0, 1, 2)]
    assert found[0] == found[1]
    assert len(set(found)) > 1


def test_a_run_that_has_not_ended_says_how_to_use_it(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match=r"has not ended; .*jaxrl export"):
        next(sample(tmp_path, "1", Sampling(4)))


CONFIG = """
import json
from pathlib import Path

from jaxrl.config import *
from jaxrl.methods.sft import Sft
from tests import tiny, tiny_rewards

config = RunConfig(
    name="x",
    mesh=MeshConfig(fsdp=1),
    data=Demonstrations(tiny.problems(4)),
    method=Sft(),
    evaluation=EvaluationConfig(
        problems=tiny.problems(3, seed=1),
        reward=tiny_rewards.share_of_digits,
        max_new_tokens=12,
    ),
)
"""


def test_the_commands_do_the_same(run, config, tmp_path, capsys):
    path = tmp_path / "config_of_commands.py"
    path.write_text(CONFIG)
    assert main(["evaluate", str(path), "--checkpoint", str(run)]) == OK
    accuracy = evaluate(config, run).accuracy
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["problems", "3"]
    assert f"heldout_accuracy  {accuracy:.4g}" in shown
    greedy = ["--temperature", "0", "--max-tokens", str(LIMIT)]
    assert main(["sample", str(run), "--prompt", "12", *greedy]) == OK
    expected = "".join(sample(run, "12", Sampling(LIMIT, temperature=0.0)))
    assert capsys.readouterr().out == expected + "\n"
    out = tmp_path / "exported"
    assert main(["export", str(run), str(out)]) == OK
    assert (out / "model.safetensors").read_bytes() == (
        run / "model" / "model.safetensors"
    ).read_bytes()
    assert main(["export", str(run), str(out)]) == MISTAKE
    assert "exists already" in capsys.readouterr().err
    assert main(["export", str(tmp_path), str(out)]) == MISTAKE
    assert "is not the directory of a run" in capsys.readouterr().err
    assert main(["sample", str(tmp_path / "none"), "--prompt", "12"]) == MISTAKE
    assert "not a directory" in capsys.readouterr().err
