import dataclasses
import functools
import json
from pathlib import Path

import pytest

from jaxrl.config import Demonstrations, Rollouts, RunConfig, describe, differences
from jaxrl.methods.grpo import Grpo
from jaxrl.rollout.types import Problem


def reward(problem, text, weight=1.0):
    return weight


CONFIG = RunConfig("run", Rollouts(Path("train.jsonl"), reward))


def test_a_described_config_is_json_and_names_its_parts():
    described = json.loads(json.dumps(describe(CONFIG)))
    assert described["data"]["type"] == "Rollouts"
    assert described["data"]["problems"] == "train.jsonl"
    assert described["method"]["type"] == "Grpo"
    assert described["optimizer"]["b1"] == 0.9
    assert described["evaluation"]["problems"] is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (len, "builtins.len"),
        (dict, "builtins.dict"),
        (Path("a"), "a"),
        ({"a": (1, None)}, {"a": [1, None]}),
        ((0,) * 31, [0] * 31),
        ((0,) * 32, "tuple of 32"),
        (range(3), "range of 3"),
        (object(), "builtins.object"),
        (functools.partial(len, 1, a=2), ["builtins.len", [1], {"a": 2}]),
        (functools.partial, "functools.partial"),
    ],
)
def test_values_are_described_plainly(value, expected):
    assert describe(value) == expected


def test_functions_are_described_by_where_they_are():
    assert describe(reward).endswith("test_config.reward")


def test_a_bound_method_is_described_by_its_name():
    assert describe("x".upper).endswith("upper")
    assert describe(CONFIG.data.__eq__).endswith("Rollouts.__eq__")


def test_equal_configs_do_not_differ():
    assert differences(describe(CONFIG), json.loads(json.dumps(describe(CONFIG)))) == {}


def test_differing_fields_are_named_with_both_values():
    other = dataclasses.replace(
        CONFIG,
        seed=4,
        optimizer=dataclasses.replace(CONFIG.optimizer, learning_rate=0.5),
    )
    assert differences(describe(CONFIG), describe(other)) == {
        "seed": (0, 4),
        "optimizer.learning_rate": (1e-6, 0.5),
    }


def test_fields_that_one_side_lacks_are_named():
    data = Demonstrations([Problem("a", "1+1", "2")])
    other = dataclasses.replace(CONFIG, data=data)
    found = differences(describe(CONFIG), describe(other))
    assert found["data.type"] == ("Rollouts", "Demonstrations")
    assert found["data.batch_size"] == (None, 32)
    assert found["data.samples_per_prompt"] == (8, None)


def test_a_run_writes_below_its_output():
    config = dataclasses.replace(CONFIG, output=Path("there"))
    assert config.directory == Path("there/run")


def test_the_default_method_is_grpo():
    assert CONFIG.method == Grpo()
