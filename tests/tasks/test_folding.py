"""Subgoals that are folded: the oracles of the specification, and whole episodes."""

import asyncio
import dataclasses
import itertools

import pytest

from jaxrl.rollout.chat import LimitReached
from jaxrl.rollout.types import Problem
from jaxrl.tasks.adapters.stepped import Seen
from jaxrl.tasks.folding import (
    Decision,
    FoldedTask,
    Penalties,
    Progress,
    nothing_happens,
    numbered,
    read,
)
from tests.tasks.adapters.doubles import Scripted

PROBLEM = Problem("x", "Heat mug 1.", None)


def say(action, *, done=0, subgoal=None, reflect="Hm."):
    named = "" if subgoal is None else f"<subgoal>{subgoal}</subgoal>"
    return (
        f"<reflect>{reflect}</reflect><done>{done}</done>{named}"
        f"<action>{action}</action>"
    )


class House:
    """Says what a test has written, and pays at the end."""

    def __init__(self, *texts, reward=1.0):
        self.texts, self.reward, self.actions = [*texts], reward, []

    def reset(self):
        return {"policy": Seen(self.texts[0])}

    def step(self, said):
        self.actions.append(said["policy"])
        end = len(self.actions) == len(self.texts) - 1
        text = self.texts[len(self.actions)]
        reward = self.reward if end else 0.0
        return {"policy": Seen(text, reward=reward, terminated=end)}

    def close(self):
        self.actions.append("closed")


def play(house, *says, **fields):
    agent = Scripted(*says)
    task = FoldedTask(lambda problem: house, **fields)
    outcome = asyncio.run(task(PROBLEM, {"policy": agent}))
    prompts = [asked[-1]["content"] for asked in agent.asked]
    return outcome, outcome.agents["policy"], prompts


def test_only_the_last_observation_of_a_reached_subgoal_is_kept():
    """Oracle O3."""
    house = House("o0", "o1", "o2", "o3", "o4", "o5")
    outcome, judged, prompts = play(
        house,
        say("a", subgoal="find mug"),
        say("b"),
        say("c", done=1, subgoal="heat mug"),
        say("d", done=1, subgoal="place mug"),
        say("e"),
    )
    assert prompts[3].count("- find mug: o2") == 1
    assert "o1" not in prompts[3]
    assert "- c: what you see now" in prompts[3]
    *_, last = prompts
    assert "- find mug: o2\n- heat mug: o3" in last
    assert "o1" not in last
    assert "Current subgoal: place mug\n\nSteps towards it:\n- d: what you" in last
    assert house.actions == [*"abcde", "closed"]
    assert outcome.numbers["subgoals"] == 2
    assert judged.rewards == (1.0,)
    assert judged.penalties == [0.0] * 5


def test_progress_has_one_step_after_a_fold_and_a_step():
    progress = Progress()
    progress.decide(Decision(False, "find mug", "a", True), "o0")
    progress.steps += [("a", "o1"), ("b", "o2")]
    closed = progress.decide(Decision(True, "heat mug", "c", True), "o2")
    assert closed == ("o2", "heat mug")
    assert (progress.folded, progress.steps) == ([("find mug", "o2")], [])
    assert progress.decide(Decision(False, "ignored", "c", True), "o2") == (None, None)
    assert progress.subgoal == "heat mug"


def test_an_action_that_comes_to_the_same_costs_once_for_each_repetition():
    """Oracle O4: not after a fold."""
    house = House("o0", "same", "same", "same", "end")
    _, judged, _ = play(
        house,
        say("look", subgoal="find mug"),
        say("look"),
        say("look", done=1, subgoal="find cup"),
        say("go"),
    )
    assert judged.penalties == [0.0, 0.1, 0.0, 0.0]


@pytest.mark.parametrize(("reward", "cost"), [(1.0, 0.1), (0.0, 0.0)])
def test_a_subgoal_that_ends_in_failure_costs_only_where_the_episode_succeeds(
    reward, cost
):
    house = House("o0", "Nothing happens.", "o2", reward=reward)
    _, judged, _ = play(
        house, say("a", subgoal="find mug"), say("b", done=1, subgoal="go on")
    )
    assert judged.penalties == [0.0, cost]


def test_a_subgoal_may_only_name_what_was_seen():
    house = House("You see shelf 2.", "You see cup 3.", "o2", "end")
    _, judged, _ = play(
        house,
        say("a", subgoal="find mug 1 on Shelf 2"),
        say("b", done=1, subgoal="take cup 3"),
        say("c", done=1, subgoal="take plate 4"),
    )
    assert judged.penalties == [0.0, 0.0, 0.1]


@pytest.mark.parametrize(
    ("text", "first", "formed", "action"),
    [
        (say("go", subgoal="x"), True, True, "go"),
        (say("go"), True, False, "go"),
        (say("go"), False, True, "go"),
        (say("go", done=1), False, False, "go"),
        (say("go", done=2, subgoal="x"), True, False, "go"),
        ("x" * 40, False, False, "x" * 30),
        (
            "<done>0</done><action></action>",
            False,
            False,
            "done>0</done><action></action>",
        ),
    ],
)
def test_replies_are_read(text, first, formed, action):
    found = read(text, first=first)
    assert (found.formed, found.action) == (formed, action)


def test_a_reply_that_is_malformed_costs_and_keeps_the_subgoal():
    house = House("o0", "o1", "o2", "end")
    outcome, judged, prompts = play(
        house, say("a", subgoal="find mug"), "hm", say("b", done=1)
    )
    assert judged.penalties == [0.0, 0.1, 0.1]
    assert "Current subgoal: find mug" in prompts[2]
    assert house.actions[1] == "hm"
    assert outcome.numbers["malformed_replies"] == 2


def test_without_penalties_only_the_outcome_counts():
    free = Penalties(0.0, 0.0, 0.0, 0.0)
    _, judged, _ = play(House("o", "o", "o"), "hm", "hm", penalties=free)
    assert judged.rewards == (1.0,)
    assert judged.penalties == [0.0, 0.0]


def test_turns_and_room_end_an_episode():
    house = House(*"abcdef")
    outcome, judged, _ = play(house, *["hm"] * 5, turns=2)
    assert len(judged.penalties) == 2
    assert outcome.numbers["episode_terminated"] == 0
    _, judged, _ = play(House(*"abcdef"), "hm")
    assert len(judged.penalties) == 1
    with pytest.raises(LimitReached):
        play(House(*"abcdef"))


def test_a_prompt_is_bounded_by_what_is_not_folded():
    texts = [f"a long observation {'x' * 50} {n}" for n in range(9)]
    says = [say("a", subgoal="find mug")]
    says += [say("b", done=1, subgoal=f"go {n}") for n in range(7)]
    _, _, prompts = play(House(*texts), *says)
    grown = [len(after) - len(before) for before, after in itertools.pairwise(prompts)]
    assert max(grown[2:]) < 2 * len(texts[0])


def test_words_of_alfworld():
    assert numbered("On shelf 2 you see mug 10.") == {"shelf 2", "mug 10"}
    assert nothing_happens("Nothing happens.")
    assert dataclasses.asdict(Penalties()) == dict.fromkeys(
        ("grounding", "termination", "execution", "format"), 0.1
    )
