"""Whole runs whose samples a server draws that loads what the run publishes."""

import threading

import numpy as np
import pytest
from safetensors.numpy import load_file

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
from jaxrl.rollout.engines import SGLANG
from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.server import RolloutServer
from jaxrl.rollout.shapes import sampler_shape
from jaxrl.rollout.types import Sampling
from jaxrl.train import train
from models.config import Lora
from models.huggingface import load
from tests import tiny, tiny_rewards
from tests.rollout.completions_server import status
from tests.rollout.engine_server import MODEL, serving
from tests.test_several import CONFIG, Processes

ENGINE = """
import dataclasses
from jaxrl.rollout.server import RolloutServer

engine = RolloutServer({urls}, "policy")
config = dataclasses.replace(
    config, data=dataclasses.replace(config.data, engine=engine)
)
"""
SHAPE = sampler_shape(prompts=1, samples=1, max_prompt_tokens=64, max_new_tokens=8)


class Policy:
    """What a server samples from: checkpoint directories, one after the other."""

    def __init__(self, path):
        self.lock, self.loaded = threading.Lock(), []
        self.sampler = Sampler(*load(path), SHAPE)

    def load(self, path):
        _, params = load(path)
        with self.lock:
            self.sampler.update(params, len(self.loaded))
            self.loaded.append(path.name.partition(".")[2])

    def draw(self, prompt, *, size, temperature, top_k, stops, seed):
        sampling = Sampling(size, temperature, max(0, top_k), stop_tokens=tuple(stops))
        with self.lock:
            [[drawn]] = self.sampler.generate([np.array(prompt)], 1, sampling, (seed,))
        return drawn.tokens.tolist(), drawn.logp.tolist()


pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny.write_policy(tmp_path_factory.mktemp("served") / "policy")


@pytest.fixture
def run(path, tmp_path):
    """Train on what a server draws; returns the metrics and the run's directory."""

    def run(engine, *, resume=False, lora=None, **options):
        server = RolloutServer((engine.url,), MODEL, wait=0.01, **options)
        config = RunConfig(
            name="run",
            mesh=MeshConfig(fsdp=1),
            data=Rollouts(
                tiny.problems(6),
                reward=tiny_rewards.share_of_digits,
                prompts_per_step=4,
                samples_per_prompt=4,
                max_prompt_tokens=6,
                max_new_tokens=8,
                temperature=0.7,
                reward_workers=0,
                engine=server,
            ),
            method=Grpo(),
            model=ModelConfig(path=path, lora=lora),
            optimizer=OptimizerConfig(learning_rate=1e-2, micro_batches=2),
            evaluation=EvaluationConfig(problems=tiny.problems(3, seed=1), every=2),
            checkpoint=CheckpointConfig(every=1, resume=resume),
            logging=LoggingConfig(progress=False),
            steps=3,
            output=tmp_path,
        )
        rows = read_lines(train(config).directory / "metrics.jsonl")
        return [row for row in rows if "logp_gap" in row], config.directory

    return run


@pytest.mark.slow
def test_a_run_samples_from_the_server_what_it_trained_whatever_fails(run, path):
    def fault(asked, body, n):
        drawn = asked == "/v1/completions" and body["temperature"] == 0.7
        return status(500) if drawn and body["seed"] % 4 == 0 else None

    with serving(Policy(path), fault) as engine:
        rows, directory = run(engine, attempts=2)
        assert engine.language.loaded == ["0", "1", "2", "3"]
    assert len(rows) == 3
    assert all(0 <= row["logp_gap"] < 1e-4 and row["skipped"] == 0 for row in rows)
    assert 0 < sum(row["sampling_failures"] for row in rows) < 3 * 16
    [*_, newest] = sorted((directory / "published").iterdir())
    exported = load_file(directory / "model" / "model.safetensors")
    served = load_file(newest / "model.safetensors")
    before = load_file(path / "model.safetensors")
    for name in exported:
        np.testing.assert_array_equal(served[name], exported[name])
    assert any((before[name] != exported[name]).any() for name in before)


@pytest.mark.slow
def test_a_run_whose_server_stops_loading_goes_on_from_its_checkpoint(run, path):
    def fault(asked, body, n):
        reload = asked == "/collective_rpc"
        second = reload and body["kwargs"]["weights_path"].endswith(".1")
        return status(500, "out of memory") if second else None

    with (
        serving(Policy(path), fault) as engine,
        pytest.raises(UserError, match=r"out of memory.*--resume"),
    ):
        run(engine, attempts=2)
    with serving(Policy(path)) as other:
        rows, _ = run(other, resume=True)
        assert other.language.loaded == ["1", "2", "3"]
    assert [row["step"] for row in rows] == [1, 2, 3]


@pytest.mark.slow
def test_several_processes_share_out_loading_and_drawing(path, tmp_path):
    with serving(Policy(path)) as one, serving(Policy(path)) as two:
        written, urls = tmp_path / "config.py", (one.url, two.url)
        text = CONFIG.format(policy=path, steps=2) + ENGINE.format(urls=urls)
        written.write_text(text)
        processes = Processes(written, 2, tmp_path)
        assert processes.wait() == [0, 0], processes.errors(0) + processes.errors(1)
        assert [e.language.loaded for e in (one, two)] == [["0", "1", "2"]] * 2
        drawn = [body for e in (one, two) for _, body in e.requests if body]
    seeds = [b["seed"] for b in drawn if b.get("temperature") and b["seed"]]
    assert len(set(seeds)) == len(seeds) == 2 * 8
    rows = read_lines(tmp_path / "run" / "metrics.jsonl")
    gaps = [row["logp_gap"] for row in rows if "logp_gap" in row]
    assert len(gaps) == 2
    assert max(gaps) < 1e-4


@pytest.mark.slow
def test_adapters_are_published_merged_to_a_server_of_the_other_kind(run, path):
    with serving(Policy(path)) as engine:
        rows, _ = run(engine, api=SGLANG, lora=Lora(rank=2))
        assert engine.language.loaded == ["0", "1", "2", "3"]
    assert all(row["logp_gap"] < 1e-4 for row in rows)


def test_a_server_whose_numbers_ignore_temperature_is_refused_before_training(
    run, path, tmp_path
):
    class Raw(Policy):
        def draw(self, prompt, *, temperature, **options):
            plain = dict(temperature=1.0 if temperature else 0.0, **options)
            return super().draw(prompt, **plain)

    with (
        serving(Raw(path)) as engine,
        pytest.raises(UserError, match=r"--logprobs-mode processed_logprobs"),
    ):
        run(engine)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
