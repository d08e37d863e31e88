"""Whole runs of a tiny policy that walks along the corridor of Gymnasium."""

import pytest

from jaxrl.config import (
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    Rollouts,
    RunConfig,
)
from jaxrl.methods.gigpo import GiGpo
from jaxrl.methods.hipif import Hipif
from jaxrl.metrics import read_lines
from jaxrl.rollout.environment import Environment, plain
from jaxrl.rollout.tool_calls import no_calls
from jaxrl.tasks.adapters.gymnasium import Gymnasium
from jaxrl.tasks.adapters.stepped import SteppedTask, dialogue, latest, seeded
from jaxrl.tasks.folding import FoldedTask
from jaxrl.train import train
from tests import tiny, tiny_environments

TURNS = 4


def digits(observation, info):
    return f"{observation[0]}+{observation[1]}"


def act(said):
    """Odd digits go east, even ones wait; all else is no action."""
    return int(said[:1]) % 2


def rows_of(path, task, method, *, turns_apart, template=tiny_environments.template):
    """What three steps of a run log."""
    config = RunConfig(
        name="walk",
        mesh=MeshConfig(fsdp=1),
        data=Rollouts(
            seeded(4),
            prompts_per_step=2,
            samples_per_prompt=4,
            max_prompt_tokens=64,
            max_new_tokens=2,
            environment=Environment(
                plain(task),
                parse=no_calls,
                template=template,
                max_turns=TURNS,
                turns_apart=turns_apart,
            ),
        ),
        method=method,
        model=ModelConfig(path=tiny.write_policy(path / "policy")),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        logging=LoggingConfig(progress=False),
        steps=3,
        output=path,
    )
    with tiny.cached_compilation():
        return read_lines(train(config).directory / "metrics.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("show", [latest, dialogue])
def test_a_policy_learns_from_an_adapted_environment(tmp_path, show):
    from tests.tasks.adapters.zoo import Walk

    part = Gymnasium(Walk, observe=digits, act=act)
    task = SteppedTask(part, turns=TURNS, show=show, invalid_penalty=0.1)
    method, apart = GiGpo(kl_coef=0.0), show is latest
    rows = rows_of(tmp_path, task, method, turns_apart=apart)
    assert len(rows) == 3
    for row in rows:
        assert row["reward_failures"] == row["skipped"] == 0
        assert row["episode_terminated"] + row["episode_truncated"] == 1
        assert row["invalid_actions"] <= row["turns"] <= TURNS
        assert row["logp_gap"] < 1e-4
        assert row["grad_norm"] > 0


def now(messages, tools, begin_reply):
    """Of a context, the observation alone."""
    shown = tiny_environments.template(messages[-1:], tools, begin_reply)
    return f"{shown.split('Now:')[1].strip().splitlines()[0]}="


@pytest.mark.slow
def test_subgoals_are_trained_step_by_step(tmp_path):
    from tests.tasks.adapters.zoo import Walk

    task = FoldedTask(Gymnasium(Walk, observe=digits, act=act), turns=TURNS)
    rows = rows_of(tmp_path, task, Hipif(kl_coef=0.0), turns_apart=True, template=now)
    assert len(rows) == 3
    for row in rows:
        assert row["reward_failures"] == row["skipped"] == 0
        # The tiny policy knows no tags.
        assert row["malformed_replies"] == row["turns"]
        assert row["penalties"] >= 0.1 * row["turns"]
        assert row["grad_norm"] > 0
