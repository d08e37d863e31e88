"""Checkpoints that play without being trained."""

import dataclasses

import pytest

from jaxrl.config import MeshConfig, Rollouts, RunConfig
from jaxrl.errors import UserError
from jaxrl.playing import play
from jaxrl.rollout.environment import Environment, TrainedPolicy, plain
from models.huggingface import save
from tests import tiny, tiny_environments

PROBLEMS = tiny.problems(5)

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def config():
    environment = Environment(
        plain(tiny_environments.two_turns),
        parse=tiny_environments.sums,
        template=tiny_environments.template,
        max_turns=2,
    )
    data = Rollouts(
        PROBLEMS,
        prompts_per_step=2,
        samples_per_prompt=3,
        max_prompt_tokens=32,
        max_new_tokens=8,
        environment=environment,
    )
    return RunConfig(name="playing", data=data, mesh=MeshConfig(fsdp=1))


def said(episodes):
    return [
        [turn.completion.tokens.tolist() for turn in episode.traces[0].turns]
        for episode in episodes
    ]


def test_a_checkpoint_plays_every_problem_once(config, tmp_path):
    policy = tiny.write_policy(tmp_path / "policy")
    greedy = play(config, policy, PROBLEMS)
    assert [episode.problem for episode in greedy] == PROBLEMS
    assert all(len(episode.traces[0].turns) == 2 for episode in greedy)
    assert said(play(config, policy, PROBLEMS, temperature=1.0)) != said(greedy)
    other = tiny.write_policy(tmp_path / "other", seed=1)
    assert said(play(config, other, PROBLEMS)) != said(greedy)


def test_every_seat_needs_room_for_prompt_and_reply(config, tmp_path):
    policy, small = tiny.write_policy(tmp_path / "policy"), tmp_path / "small"
    limited = dataclasses.replace(tiny.ARCHITECTURE, max_positions=39)
    save(small, limited, tiny.params(), tiny.tokenizer())
    agents = {"policy": TrainedPolicy(), "partner": small}
    part = dataclasses.replace(config.data.environment, agents=agents)
    beside = dataclasses.replace(config.data, environment=part)
    longer = dataclasses.replace(config.data, max_prompt_tokens=121)
    for data, message in (
        (beside, rf"is 32 \+ 8, the model at {small} takes 39 tokens"),
        (longer, r"is 121 \+ 8, the model takes 128 tokens"),
    ):
        with pytest.raises(UserError, match=message):
            play(dataclasses.replace(config, data=data), policy, PROBLEMS)


def test_a_config_without_an_environment_is_an_error(config, tmp_path):
    alone = dataclasses.replace(config.data, environment=None)
    with pytest.raises(UserError, match=r"data\.environment is None"):
        play(dataclasses.replace(config, data=alone), tmp_path, PROBLEMS)
