import asyncio

import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem
from jaxrl.tasks.adapters.optional import imported
from jaxrl.tasks.adapters.stepped import (
    Seen,
    SteppedTask,
    dialogue,
    latest,
    seed_of,
    seeded,
)
from tests.tasks.adapters.doubles import Scripted

PROBLEM = Problem("x", "Walk.", None)
SEEN, SAID = [Seen("a hall"), Seen("a door")], ["go"]


def test_a_dialogue_shows_the_past_behind_the_instructions():
    assert dialogue(PROBLEM, SEEN, SAID) == [
        {"role": "user", "content": "Walk.\n\na hall"},
        {"role": "assistant", "content": "go"},
        {"role": "user", "content": "a door"},
    ]


def test_latest_shows_only_what_is_there():
    assert latest(PROBLEM, SEEN, SAID) == [
        {"role": "user", "content": "Walk.\n\na door"}
    ]


@pytest.mark.parametrize(
    ("prompt", "begins"),
    [
        (
            [
                {"role": "system", "content": "Walk."},
                {"role": "user", "content": "Go!"},
            ],
            [
                {"role": "system", "content": "Walk."},
                {"role": "user", "content": "Go!\n\na hall"},
            ],
        ),
        (
            [{"role": "system", "content": "Walk."}],
            [
                {"role": "system", "content": "Walk."},
                {"role": "user", "content": "a hall"},
            ],
        ),
        ("", [{"role": "user", "content": "a hall"}]),
    ],
)
def test_a_prompt_of_messages_goes_before_what_is_seen(prompt, begins):
    problem = Problem("x", prompt, None)
    assert latest(problem, SEEN[:1], []) == begins
    assert dialogue(problem, SEEN, SAID)[: len(begins)] == begins


def test_seeds_follow_each_other():
    problems = seeded(2, first=5, prompt="Walk.")
    assert [seed_of(problem) for problem in problems] == [5, 6]
    assert {problem.prompt for problem in problems} == {"Walk."}
    with pytest.raises(UserError, match=r"'x' has extra\['seed'\] None; give an int"):
        seed_of(PROBLEM)


class Early:
    """Rewards an agent before it has acted, and others that never act."""

    def reset(self):
        return {"policy": Seen("on", reward=0.5), "idle": Seen("off", terminated=True)}

    def step(self, said):
        return {"policy": Seen("on", reward=1.0, terminated=True)}

    def close(self):
        pass


def test_what_comes_before_the_first_reply_counts_for_the_episode():
    task = SteppedTask(lambda problem: Early())
    outcome = asyncio.run(task(PROBLEM, {"policy": Scripted("go")}))
    judged = outcome.agents["policy"]
    assert judged.rewards == (1.5,)
    assert judged.turn_rewards == [1.0]
    assert outcome.agents["idle"].anchors == []
    assert outcome.numbers["episode_terminated"] == 1


def test_an_environment_that_times_out_itself_is_quoted_and_closed():
    class Remote(Early):
        open = True

        def step(self, said):
            raise TimeoutError("the server of the game is gone")

        def close(self):
            self.open = False

    env = Remote()
    with pytest.raises(TimeoutError, match="the server of the game is gone"):
        asyncio.run(SteppedTask(lambda _: env)(PROBLEM, {"policy": Scripted("go")}))
    assert not env.open


def test_agents_of_the_environment_need_a_seat():
    task = SteppedTask(lambda problem: Early())
    with pytest.raises(UserError, match=r"no 'policy'.*but agent; give it a seat"):
        asyncio.run(task(PROBLEM, {"agent": Scripted("go")}))


def test_a_missing_library_is_named_with_the_remedy():
    with pytest.raises(UserError, match=r"no_such_library can't .*; install it"):
        imported("no_such_library", "install it")
