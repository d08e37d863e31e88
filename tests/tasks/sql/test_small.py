"""Small schemas, demonstrations of mixed quality, and the policy that reads them."""

import asyncio
import dataclasses
import itertools
import json
import random

import numpy as np
import pytest

from jaxrl.data.dialogues import demonstration_turns
from jaxrl.data.sources import demonstrations, problems
from jaxrl.errors import UserError
from jaxrl.rollout.chat import LimitReached
from jaxrl.rollout.types import Failure
from jaxrl.small.phrases import UNKNOWN
from jaxrl.small.sql import ARCHITECTURE, small_tokenizer
from jaxrl.tasks.sql import small
from jaxrl.tasks.sql.agents import ScriptedAgent
from jaxrl.tasks.sql.databases import STYLES
from jaxrl.tasks.sql.play import sql_task
from jaxrl.tasks.sql.slips import Slips, demonstration
from jaxrl.tasks.sql.words import KINDS, NUMBERS, TABLES

NO_SLIPS = Slips(0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small, "TRAIN", 3)
        patch.setattr(small, "HELD_OUT", 3)
        small.write_small(path, seed=0)
    return path


@pytest.fixture(scope="module")
def asked(written):
    return problems(written / "train.jsonl")


@pytest.fixture(scope="module")
def shown(written):
    return demonstrations(written / "demonstrations.jsonl")


def database_of(problem):
    number = int(problem.extra["db_id"].removeprefix("small_")) - 1
    return small.small_database(number, seed=0)


@pytest.fixture(scope="module")
def play():
    """Plays an episode with an agent."""
    with sql_task(workers=1, max_turns=small.TURNS) as opened:

        async def played(agent, problem):
            return await opened(problem, {"policy": agent})

        yield lambda agent, problem: asyncio.run(played(agent, problem))


def test_held_out_schemas_are_new_but_for_their_words(written, asked):
    held_out = problems(written / "held_out.jsonl")
    parts = [{p.extra["db_id"] for p in part} for part in (asked, held_out)]
    assert [len(part) for part in parts] == [3, 3]
    assert not parts[0] & parts[1]
    schemas = [
        {
            tuple(f.name for f in t.fields)
            for t in small.small_database(n, seed=0).tables
        }
        for n in range(6)
    ]
    known = set().union(*schemas[:3])
    assert not known & set().union(*schemas[3:])


def test_names_are_written_in_three_ways(written):
    for name, style in zip((1, 2, 3), small.NAMES, strict=True):
        tables = small.small_database(name - 1, seed=0).tables
        assert all(table.name == style[0](table.label) for table in tables)


def test_words_keep_apart_without_their_vowels():
    spelt = [STYLES[5][1](word) for word in (*TABLES, *NUMBERS, *KINDS)]
    assert len(set(spelt)) == len(spelt)


def test_without_slips_the_agent_is_paid_in_full(play, asked):
    for problem in asked[::40]:
        texts = demonstration(problem, database_of(problem), NO_SLIPS, random.Random(0))
        outcome = play(ScriptedAgent(texts), problem)
        judged = outcome.agents["policy"]
        assert judged.rewards == (1.1, 1.0)
        assert judged.channels == [1, 1, 1, 0, 0]
        assert outcome.numbers["answers_right"] == 1


@pytest.mark.parametrize(
    ("slip", "rewards"),
    [
        ({"guess": 1.0}, {(0.1, 0.0)}),
        ({"surplus": 1.0}, {(1.1, 0.0)}),
        ({"trust": 1.0}, {(1.0, 1.0)}),
        ({"confuse": 1.0}, {(0.1, 0.0), (0.3, 0.0)}),
    ],
)
def test_each_slip_costs_its_reward(play, asked, slip, rewards):
    # The second style of names, in which guesses are wrong.
    problem = next(p for p in asked if p.extra["db_id"] == "small_2")
    slips = Slips(**{**vars(NO_SLIPS), **slip})
    texts = demonstration(problem, database_of(problem), slips, random.Random(0))
    found = play(ScriptedAgent(texts), problem).agents["policy"].rewards
    assert tuple(np.round(found, 6)) in rewards


def test_demonstrations_are_of_mixed_quality(shown):
    right = [p.extra["rewards"][0] >= 1 for p in shown]
    assert 0.3 < np.mean(right) < 0.6


def test_the_policy_knows_every_word_and_has_room(shown):
    tokenizer = small_tokenizer()
    assert len(tokenizer) <= ARCHITECTURE.vocab_size
    for problem in shown[::20]:
        turns = demonstration_turns(tokenizer, problem)
        said = [m["content"] for m in problem.answer if m["role"] == "assistant"]
        for (prompt, response), text in zip(turns, said, strict=True):
            assert tokenizer.decode(response.tolist()) == f"{text}{tokenizer.eos_token}"
            assert UNKNOWN not in tokenizer.decode(prompt.tolist())
        assert len(turns[-1][0]) + len(turns[-1][1]) <= ARCHITECTURE.max_positions


class Tired:
    """Explores for some turns, and has no room for more."""

    def __init__(self, turns):
        self.scripted, self.left = (
            ScriptedAgent(["I explore."]),
            itertools.count(-turns),
        )

    async def reply(self, messages, tools):
        if next(self.left) == 0:
            raise LimitReached("as an example")
        return await self.scripted.reply(messages, tools)


def test_an_agent_without_room_is_judged_by_what_it_said(play, asked):
    outcome = play(Tired(2), asked[0])
    assert outcome.failure is None
    assert outcome.agents["policy"].rewards == (0.0, 0.0)
    assert outcome.agents["policy"].channels == [0, 0]
    with pytest.raises(LimitReached):
        play(Tired(0), asked[0])


def test_a_broken_problem_is_a_failure(play, asked):
    broken = dataclasses.replace(asked[0], answer="SELECT nothing")
    outcome = play(Tired(1), broken)
    assert isinstance(outcome.failure, Failure)


def test_a_directory_in_use_is_left_alone(written):
    before = (written / "train.jsonl").read_text()
    with pytest.raises(UserError, match="is not empty"):
        small.write_small(written, seed=1)
    assert (written / "train.jsonl").read_text() == before
    assert json.loads(before.splitlines()[0])["id"] == "small_1:0"
