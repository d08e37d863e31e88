"""Whole runs of a tiny policy that plays episodes of several turns."""

import dataclasses
import re

import chex
import numpy as np
import pytest

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
from jaxrl.methods.dpo import Dpo
from jaxrl.methods.duca import Duca
from jaxrl.methods.gigpo import GiGpo
from jaxrl.methods.grpo import Grpo
from jaxrl.metrics import read_lines
from jaxrl.planning.plan import make_plan
from jaxrl.rollout.environment import Environment, Judged, Outcome, TrainedPolicy, plain
from jaxrl.rollout.server import RolloutServer
from jaxrl.train import train
from jaxrl.validate import validate
from tests import tiny, tiny_environments, tiny_rewards
from tests.rollout.completions_server import status
from tests.rollout.engine_server import MODEL, serving
from tests.test_served_runs import Policy
from tests.test_several import CONFIG, Processes
from tests.tiny_runs import exported, metrics

STEPS = 3
PATIENT = 10.0
TURNS = Environment(
    plain(tiny_environments.two_turns),
    parse=tiny_environments.sums,
    template=tiny_environments.template,
    max_turns=2,
    patience=PATIENT,
)
APART = dataclasses.replace(TURNS, turns_apart=True)

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    directory = tmp_path_factory.mktemp("agents")
    return RunConfig(
        name="grpo",
        mesh=MeshConfig(fsdp=1),
        data=Rollouts(
            tiny.problems(10),
            prompts_per_step=4,
            samples_per_prompt=4,
            max_prompt_tokens=32,
            max_new_tokens=8,
            environment=TURNS,
        ),
        model=ModelConfig(path=tiny.write_policy(directory / "policy")),
        optimizer=OptimizerConfig(learning_rate=3e-3, micro_batches=2),
        checkpoint=CheckpointConfig(every=2),
        logging=LoggingConfig(progress=False),
        steps=STEPS,
        output=directory,
    )


def playing(config, environment, **fields):
    data = dataclasses.replace(config.data, environment=environment)
    return dataclasses.replace(config, data=data, **fields)


RUNS = {
    "grpo": (Grpo(), TURNS),
    "gigpo": (GiGpo(kl_coef=0.0), APART),
    "gigpo_together": (GiGpo(kl_coef=0.0), TURNS),
    "duca": (
        Duca(kl_coef=0.0),
        dataclasses.replace(TURNS, turns_as_channels=True),
    ),
}


MORE = ("gigpo_together", "duca")


@pytest.fixture(scope="module")
def trained(config):
    """Trains a run of `RUNS` once, and returns its config."""
    done = {}

    def run(name):
        method, environment = RUNS[name]
        if name not in done:
            done[name] = playing(config, environment, name=name, method=method)
            train(done[name])
        return done[name]

    return run


@pytest.mark.parametrize(
    "name", ["grpo", "gigpo", *(pytest.param(n, marks=pytest.mark.slow) for n in MORE)]
)
def test_a_policy_learns_from_turns_with_a_tool(trained, name):
    rows = metrics(trained(name).directory)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row in rows:
        assert row["turns"] == 2
        assert row["told"] == 1
        assert row["logp_gap"] < 1e-4
        assert row["grad_norm"] > 0
        assert row["skipped"] == row["reward_failures"] == 0
    shown = (trained(name).directory / "transcripts.md").read_text()
    assert shown.count("## Step ") == STEPS * 2
    # The second turn shows only what was told since the first.
    assert shown.count("```text\n0=\n```") == STEPS * 2
    assert shown.count("Said:") == STEPS * 2 * 2


@pytest.mark.slow
def test_a_resumed_run_repeats_the_bits(trained, config):
    whole = trained("grpo")
    again = dataclasses.replace(whole, name="again", steps=STEPS)
    started = dataclasses.replace(again, steps=STEPS - 1)
    train(started)
    resume = dataclasses.replace(again.checkpoint, resume=True)
    train(dataclasses.replace(again, checkpoint=resume))
    chex.assert_trees_all_equal(exported(again.directory), exported(whole.directory))
    assert metrics(again.directory) == metrics(whole.directory)


async def breaks(problem, agents):
    """Fails for some problems in one way, for some in another."""
    number = int(problem.id)
    if number % 5 == 1:
        raise ValueError("as an example")
    if number % 5 == 2:
        return Outcome({"policy": Judged(())})
    if number % 5 == 3:
        await agents["policy"].reply([{"role": "user", "content": "1" * 40}], ())
    return await tiny_environments.two_turns(problem, agents)


def test_broken_episodes_are_counted_and_the_run_goes_on(config):
    broken = dataclasses.replace(TURNS, open=plain(breaks))
    run = playing(config, broken, name="broken", steps=5)
    train(run)
    rows = metrics(run.directory)
    kinds = ("episodes_crashed", "episodes_malformed", "episodes_out_of_room")
    for row in rows:
        failed = 16 * sum(row[kind] for kind in kinds)
        assert row["reward_failures"] == pytest.approx(failed)
        assert row["skipped"] == 0
    assert all(sum(row[kind] for row in rows) > 0 for kind in kinds)


async def with_partner(problem, agents):
    """A frozen checkpoint speaks first, then the policy."""
    asked = [{"role": "user", "content": problem.prompt}]
    first = await agents["partner"].reply(asked, ())
    said = await agents["policy"].reply([{"role": "user", "content": first.text}], ())
    reward = tiny_rewards.share_of_digits(problem, said.text)
    return Outcome({"policy": Judged((reward,))})


@pytest.mark.slow
def test_another_checkpoint_plays_and_is_not_trained(config):
    other = tiny.write_policy(config.output / "other", seed=1)
    agents = {"policy": TrainedPolicy(), "partner": other}
    environment = dataclasses.replace(TURNS, open=plain(with_partner), agents=agents)
    run = playing(config, environment, name="partner", steps=2)
    train(run)
    rows = read_lines(run.directory / "metrics.jsonl")
    assert all(row["turns"] == 1 for row in rows)
    assert all(row["tokens"] <= 16 * 8 for row in rows)


@pytest.mark.slow
def test_a_run_that_plays_can_be_planned(config):
    run = playing(config, APART, method=GiGpo(kl_coef=0.0))
    parts = make_plan(dataclasses.replace(run, mesh=MeshConfig()), "cpu:8").parts
    assert [part.name for part in parts] == ["train", "decode"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_turns": 0}, "max_turns is 0"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"slots": 0}, "slots is 0"),
        ({"reward_channels": 0}, "reward_channels is 0"),
        ({"turn_deadline": 0.0}, "turn_deadline is 0"),
        ({"episode_deadline": -1.0}, "episode_deadline is -1"),
        ({"patience": -1.0}, "patience is -1"),
        ({"discount": 1.5}, "discount is 1.5"),
        ({"agents": {}}, r"has no TrainedPolicy\(\)"),
        ({"template": None}, "template is None"),
    ],
)
def test_mistakes_in_an_environment_are_found_before_it_is_played(
    config, fields, message
):
    wrong = playing(config, dataclasses.replace(TURNS, **fields), name="wrong")
    with pytest.raises(UserError, match=rf"data\.environment\.?.*{message}"):
        train(wrong)


def test_a_seat_needs_a_checkpoint(config, tmp_path):
    agents = {"policy": TrainedPolicy(), "judge": tmp_path}
    wrong = playing(config, dataclasses.replace(TURNS, agents=agents))
    with pytest.raises(
        UserError, match=rf"agents\['judge'\] is {re.escape(str(tmp_path))}"
    ):
        validate(wrong)


@pytest.mark.parametrize(
    ("data", "rest", "message"),
    [
        ({"reward": tiny_rewards.share_of_digits}, {}, "both say what episodes are"),
        ({"teacher_share": 0.5}, {}, "builds prompts itself"),
        ({"length_penalty": np.negative}, {}, "length_penalty is .*negative.*None"),
        ({}, {"method": Dpo()}, "pairs single responses"),
        (
            {},
            {"evaluation": EvaluationConfig(problems=tiny.problems(2))},
            "evaluation.reward is None",
        ),
        ({"environment": None}, {}, "data.reward is empty"),
    ],
)
def test_what_does_not_go_with_an_environment_is_an_error(config, data, rest, message):
    wrong = dataclasses.replace(
        config, data=dataclasses.replace(config.data, **data), **rest
    )
    with pytest.raises(UserError, match=message):
        validate(wrong)


SEVERAL = """
import dataclasses
from tests import test_agents

config = dataclasses.replace(
    config,
    data=dataclasses.replace(
        config.data, reward=(), max_prompt_tokens=32, environment=test_agents.TURNS
    ),
    evaluation=EvaluationConfig(),
)
"""


@pytest.mark.slow
def test_several_processes_share_out_the_episodes(config, tmp_path):
    written = tmp_path / "config.py"
    text = CONFIG.format(policy=config.model.path, steps=STEPS)
    written.write_text(text + SEVERAL)
    runs = {}
    for count in (1, 2):
        processes = Processes(written, count, tmp_path / str(count))
        assert processes.wait() == [0] * count, processes.errors(0)
        runs[count] = processes.output / "run"
    chex.assert_trees_all_close(
        exported(runs[1]), exported(runs[2]), rtol=1e-6, atol=1e-6
    )
    rows = [read_lines(run / "metrics.jsonl") for run in runs.values()]
    assert [r["reward"] for r in rows[0]] == [r["reward"] for r in rows[1]]
    assert len(rows[0]) == STEPS


@pytest.mark.slow
def test_a_server_that_tells_tokens_plays_for_the_policy(config):
    def fault(asked, body, n):
        drawn = asked == "/v1/completions" and body["max_tokens"] == 8
        return status(500) if drawn and body["seed"] % 8 == 0 else None

    with serving(Policy(config.model.path), fault) as engine:
        server = RolloutServer((engine.url,), MODEL, wait=0.01, attempts=1)
        data = dataclasses.replace(config.data, engine=server)
        train(dataclasses.replace(config, name="served", data=data))
        assert engine.language.loaded == ["0", "1", "2"]
    rows = metrics(config.output / "served")
    assert all(row["logp_gap"] < 1e-4 and row["skipped"] == 0 for row in rows)
    assert 0 < sum(row["reward_failures"] for row in rows) < STEPS * 16
