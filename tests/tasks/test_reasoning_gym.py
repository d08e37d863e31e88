import pytest

from jaxrl.rollout.pool import RewardPool
from jaxrl.rollout.types import Problem
from jaxrl.tasks.reasoning_gym import reasoning_gym_reward

gym = pytest.importorskip("reasoning_gym")


def problem(task):
    entry = gym.create_dataset(task, size=1, seed=1)[0]
    return Problem(task, entry["question"], entry["answer"], {"entry": entry})


@pytest.mark.parametrize("task", ["leg_counting", "countdown", "chain_sum"])
def test_the_tasks_own_scorer_decides(task):
    item = problem(task)
    assert reasoning_gym_reward(item, item.answer) == 1
    tagged = f"<answer>1</answer> no, <answer> {item.answer}\n</answer> it is"
    assert reasoning_gym_reward(item, tagged) == 1
    assert reasoning_gym_reward(item, "-1") < 0.2


def test_it_is_no_string_comparison():
    item = problem("countdown")
    assert item.answer == "94*4 - 61 - 6"
    assert reasoning_gym_reward(item, "4*94 - (61 + 6)") == 1


def test_it_runs_in_workers():
    item = problem("leg_counting")
    with RewardPool(workers=1, deadline=30.0) as pool:
        pool.prepare((reasoning_gym_reward,))
        found = pool.score((reasoning_gym_reward,), [(item, item.answer)])
    assert found == [(1.0,)]
