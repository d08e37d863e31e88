"""Small teams: demonstrations of mixed quality, and the policy that reads them."""

import random
from statistics import mean

import pytest

from jaxrl.data.dialogues import demonstration_turns
from jaxrl.small.phrases import UNKNOWN
from jaxrl.small.silo import ARCHITECTURE, small_tokenizer
from jaxrl.tasks.silo import small
from jaxrl.tasks.silo.scoring import mended_scores
from jaxrl.tasks.silo.small import Slips
from jaxrl.tasks.silo.training import problems

NO_SLIPS = Slips(hasty=0.0, deaf=0.0, misread=0.0)


@pytest.fixture(scope="module")
def shown():
    return [*small.demonstrations(10, seed=0)]


def played(task, slips, instances=20):
    """Shares of right answers of the teams, and what their agents saw and said."""
    draw, shares, rows = random.Random(0), [], []
    for problem in problems([task], instances):
        run, found = small.demonstrated(problem, slips, draw)
        answers = [(i, m.answer) for i, m in enumerate(run.members)]
        shares.append(mended_scores(run.instance, answers).success_rate)
        rows += found
    return shares, rows


@pytest.mark.parametrize("task", small.TRADES)
def test_without_slips_all_answers_are_right_and_nothing_is_wasted(task):
    shares, rows = played(task, NO_SLIPS)
    assert shares == [1.0] * 20
    said = {sum(m["role"] == "assistant" for m in row.answer) for row in rows}
    assert said == {small.ROUNDS - 1}


@pytest.mark.parametrize("slip", ["hasty", "deaf"])
def test_who_does_not_listen_misses_the_alarm_of_another(slip):
    shares, rows = played("I-04", Slips(**{**vars(NO_SLIPS), slip: 1.0}))
    assert set(shares) == {1.0, 1 / 3}
    said = {sum(m["role"] == "assistant" for m in row.answer) for row in rows}
    assert said == {1 if slip == "hasty" else 2}


@pytest.mark.parametrize("task", small.TRADES)
def test_who_misreads_is_wrong(task):
    slips = Slips(hasty=1.0, deaf=0.0, misread=1.0)
    assert max(played(task, slips)[0]) < 1


def test_demonstrations_are_of_mixed_quality():
    found = [share for task in small.TRADES for share in played(task, Slips(), 100)[0]]
    assert 0.6 < mean(found) < 0.9


def test_the_policy_knows_every_phrase_and_has_room(shown):
    tokenizer = small_tokenizer()
    assert len(tokenizer) <= ARCHITECTURE.vocab_size
    for problem in shown:
        turns = demonstration_turns(tokenizer, problem)
        said = [m["content"] for m in problem.answer if m["role"] == "assistant"]
        for (prompt, response), text in zip(turns, said, strict=True):
            assert len(response) == (2 if "receive" in text else 4)
            assert tokenizer.decode(response.tolist()) == f"{text}{tokenizer.eos_token}"
            assert UNKNOWN not in tokenizer.decode(prompt.tolist())
        # What is asked, told and said are phrases: not a character stands alone.
        assert len(turns[-1][0]) <= 80


def test_other_seeds_are_other_slips(shown):
    again = [*small.demonstrations(10, seed=0)]
    assert [row.answer for row in again] == [row.answer for row in shown]
    other = [*small.demonstrations(10, seed=1)]
    assert [row.prompt for row in other] == [row.prompt for row in again]
    assert [row.answer for row in other] != [row.answer for row in again]
