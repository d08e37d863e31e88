import asyncio
import dataclasses
import threading

import pytest

from jaxrl.rollout.chat import LimitReached
from jaxrl.rollout.types import Problem
from jaxrl.tasks.simulated_user import Conversation
from tests.tasks.adapters.doubles import Scripted

PROBLEM = Problem("tea", "You run a tea shop.", "green")
TASK = Conversation(
    wish=lambda problem: f"You want {problem.answer} tea.",
    rewards=(
        lambda problem, said: float(said[-2]["content"].count(problem.answer)),
        lambda problem, said: -len(said),
    ),
    over=lambda text: text.endswith("Bye."),
    turns=3,
)


def talk(task, *, policy, user):
    agents = {"policy": Scripted(*policy), "user": Scripted(*user)}
    outcome = asyncio.run(task(PROBLEM, agents))
    return outcome, agents["policy"].asked, agents["user"].asked


def test_both_read_one_conversation_each_from_its_own_side():
    outcome, agent, user = talk(TASK, policy=["Sure, green."], user=["Tea?", "Bye."])
    assert agent == [
        [
            {"role": "system", "content": "You run a tea shop."},
            {"role": "user", "content": "Tea?"},
        ]
    ]
    assert user[1] == [
        {"role": "user", "content": "You want green tea."},
        {"role": "assistant", "content": "Tea?"},
        {"role": "user", "content": "Sure, green."},
    ]
    assert outcome.agents["policy"].rewards == (1.0, -3.0)
    assert outcome.numbers == {"ended_by_user": 1.0}


def test_instructions_may_be_messages():
    asked = [
        {"role": "system", "content": "You run a shop."},
        {"role": "assistant", "content": "Hello."},
    ]
    agent = Scripted("Yes.")
    agents = {"policy": agent, "user": Scripted("Tea?", "Bye.")}
    asyncio.run(TASK(dataclasses.replace(PROBLEM, prompt=asked), agents))
    assert agent.asked == [[*asked, {"role": "user", "content": "Tea?"}]]


def test_the_user_is_never_trained():
    outcome, _, _ = talk(TASK, policy=["Yes."], user=["Tea?", "Bye."])
    trainable = {name: judged.trainable for name, judged in outcome.agents.items()}
    assert trainable == {"policy": True, "user": False}


@pytest.mark.parametrize(
    ("policy", "user", "replies"),
    [(["Yes."] * 9, ["Tea?"] * 9, 3), (["Yes."], ["Tea?"] * 9, 1)],
)
def test_it_ends_out_of_turns_or_of_words(policy, user, replies):
    task = dataclasses.replace(TASK, rewards=(lambda problem, said: len(said) // 2,))
    outcome, _, _ = talk(task, policy=policy, user=user)
    assert outcome.agents["policy"].rewards == (replies,)
    assert outcome.numbers == {"ended_by_user": 0.0}


def test_rewards_keep_no_other_episode_waiting():
    ended = threading.Event()
    task = dataclasses.replace(
        TASK, rewards=(lambda problem, said: ended.wait(1.0),), reward_deadline=0.05
    )
    with pytest.raises(TimeoutError):
        talk(task, policy=["Yes."], user=["Tea?", "Bye."])
    ended.set()


def test_nobody_talks_to_an_agent_without_room():
    with pytest.raises(LimitReached):
        talk(TASK, policy=[], user=["Tea?"])
