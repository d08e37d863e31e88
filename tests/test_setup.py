"""From a config to the parts of a run."""

import dataclasses

import pytest

from jaxrl.config import Demonstrations, EvaluationConfig, Rollouts, RunConfig
from jaxrl.errors import UserError
from jaxrl.setup import evaluation_reward
from tests import tiny, tiny_rewards


def test_the_evaluation_takes_its_own_reward_else_the_runs_first():
    rewards = (tiny_rewards.share_of_digits, tiny_rewards.watched)
    config = RunConfig("x", Rollouts(tiny.problems(2), rewards))
    assert evaluation_reward(config) is rewards[0]
    single = dataclasses.replace(config, data=Rollouts(tiny.problems(2), rewards[1]))
    assert evaluation_reward(single) is rewards[1]
    own = EvaluationConfig(reward=tiny_rewards.fails_or_constant)
    config = dataclasses.replace(config, evaluation=own)
    assert evaluation_reward(config) is tiny_rewards.fails_or_constant


def test_demonstrations_have_no_reward_to_evaluate_with():
    config = RunConfig("x", Demonstrations(tiny.problems(2)))
    with pytest.raises(UserError, match=r"evaluation\.reward is empty"):
        evaluation_reward(config)
