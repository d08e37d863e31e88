"""Requests that come while others are decoded, and leave before they are done."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.session import Stops
from jaxrl.rollout.shapes import SamplerShape
from jaxrl.rollout.types import Sampling
from jaxrl.truncation import Distribution
from tests import tiny

SAMPLING = Sampling(12, stop_tokens=(tiny.EOS,))
SHAPE = SamplerShape(
    prompts=8,
    samples=1,
    prompt_lengths=(8, 16),
    cache_lengths=(4, 8, 12),
    steps=4,
    admit=2,
)
SEED = (3, 1)

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def sampler():
    return Sampler(tiny.MODEL, tiny.params(), SHAPE)


def prompts(count):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 17, count)
    return [rng.integers(3, 15, n).astype(np.int32) for n in lengths]


def finished(session):
    while session.busy:
        session.advance()


def served(sampler, asked, arrivals, seed=0):
    """Completions of requests of which so many arrive between two blocks."""
    session, rows = sampler.open(SAMPLING, SEED), {}
    names = np.random.default_rng(seed).permutation(len(asked)).tolist()
    for count in itertools.cycle(arrivals):
        for name in [names.pop() for _ in range(min(count, len(names)))]:
            [rows[name]] = session.submit(asked[name], [name])
        if session.busy:
            session.advance()
        elif not names:
            return [rows[name].completion(0) for name in range(len(asked))]


def test_what_a_request_gets_depends_on_its_name_alone(sampler):
    asked = prompts(24)
    session = sampler.open(SAMPLING, SEED)
    rows = [session.submit(p, [name])[0] for name, p in enumerate(asked)]
    finished(session)
    expected = [row.tokens for row in rows]
    for seed, arrivals in enumerate([(1,), (0, 5, 0, 0, 1), (9, 0, 0, 0, 0)]):
        found = served(sampler, asked, arrivals, seed)
        assert [one.tokens.tolist() for one in found] == expected
        for one, row in zip(found, rows, strict=True):
            np.testing.assert_allclose(one.logp, row.logp, atol=1e-5)


def test_an_open_session_draws_what_a_closed_call_draws(sampler):
    asked = prompts(6)
    closed = sampler.generate(asked, 1, SAMPLING, SEED)
    opened = served(sampler, asked, (2, 0))
    assert [c[0].tokens.tolist() for c in closed] == [o.tokens.tolist() for o in opened]


def test_withdrawn_rows_leave_their_slots_to_others(sampler):
    session = sampler.open(SAMPLING, SEED)
    rows = [session.submit(p, [name])[0] for name, p in enumerate(prompts(12))]
    session.advance()
    for row in rows[:10]:
        row.live = False
    said = [list(row.tokens) for row in rows[:10]]
    finished(session)
    assert [row.tokens for row in rows[:10]] == said
    assert all(row.finished or len(row.tokens) == 12 for row in rows[10:])
    [late] = session.submit(prompts(1)[0], [99], limit=2)
    finished(session)
    assert 0 < len(late.tokens) <= 2


def test_what_an_open_session_never_does_is_not_compiled():
    shape = dataclasses.replace(SHAPE, prompts=2, cache_lengths=(4,))
    sampler = Sampler(tiny.MODEL, tiny.params(), shape)
    named = list(sampler.compile(SAMPLING, opened=True))
    assert [name.split(" ")[0] for name in named] == ["prefill", "prefill", "decode"]
    sampling = dataclasses.replace(SAMPLING, max_new_tokens=4)
    # The key of a session is made by small programs of their own.
    session = sampler.open(sampling, SEED)
    with tiny.compilations() as later:
        for name, prompt in enumerate(prompts(6)):
            session.submit(prompt, [name])
        finished(session)
    assert later == []


@pytest.mark.slow
def test_nothing_compiles_once_an_open_session_is_warm():
    sampler = Sampler(tiny.MODEL, tiny.params(), SHAPE)
    list(sampler.compile(SAMPLING, opened=True))
    jax.random.fold_in(jax.random.key(0), 1)
    with tiny.compilations() as later:
        for seed, arrivals in enumerate([(1,), (3, 0, 0), (9, 0, 0, 0, 0), (0, 2)]):
            served(sampler, prompts(20), arrivals, seed)
    assert later == []


RULES = [
    Distribution(temperature=0.0),
    Distribution(temperature=0.6),
    Distribution(temperature=1.5, top_k=9, top_p=0.6),
]


def test_requests_of_a_mixed_session_are_drawn_as_each_asks(sampler):
    asked = prompts(len(RULES))
    session = sampler.open(SAMPLING, SEED, mixed=True)
    rows = [
        session.submit(prompt, [name], 4 + name, rule)[0]
        for name, (prompt, rule) in enumerate(zip(asked, RULES, strict=True))
    ]
    finished(session)
    for name, (prompt, rule) in enumerate(zip(asked, RULES, strict=True)):
        alone = Sampling(
            4 + name,
            temperature=rule.temperature,
            top_k=rule.top_k,
            top_p=rule.top_p,
            stop_tokens=(tiny.EOS,),
        )
        only = sampler.open(alone, SEED)
        [expected] = only.submit(prompt, [name])
        finished(only)
        assert rows[name].tokens == expected.tokens
        np.testing.assert_allclose(rows[name].logp, expected.logp, atol=1e-5)


def test_each_answer_has_its_own_stops():
    decoding = Sampler(tiny.MODEL, tiny.params(), SHAPE, decode=letters)
    [asked], endless = prompts(1), Sampling(12)
    session = decoding.open(endless, SEED)
    plain = [session.submit(asked, [name])[0] for name in (5, 6)]
    finished(session)
    third, string = plain[0].tokens[2], letters(plain[1].tokens[4:6])
    session = decoding.open(endless, SEED)
    [by_token] = session.submit(asked, [5], stops=Stops(frozenset([third])))
    [by_string] = session.submit(asked, [6], stops=Stops(strings=(string,)))
    finished(session)
    place = plain[0].tokens.index(third) + 1
    assert by_token.tokens == plain[0].tokens[:place]
    assert letters(by_string.tokens).endswith(string)
    assert by_string.tokens == plain[1].tokens[: len(by_string.tokens)]
    for row in (by_token, by_string):
        assert (row.finished, row.live, len(row.logp)) == (True, False, len(row.tokens))


def letters(tokens):
    return "".join(map(chr, tokens))


def test_equal_prompts_are_prefilled_once(sampler):
    asked, other = prompts(2)
    session = sampler.open(SAMPLING, SEED)
    alone = [session.submit(asked, [name])[0] for name in range(5)]
    alone.append(session.submit(other, [5])[0])
    prefilled = []

    def counted(params, tokens, length):
        prefilled.append(tokens)
        return sampler.programs.prefill(params, tokens, length)

    programs = sampler.programs._replace(prefill=counted)
    session.engine = session.engine._replace(programs=programs)
    finished(session)
    assert len(prefilled) == 1
    session = sampler.open(SAMPLING, SEED)
    for name, row in enumerate(alone):
        [single] = session.submit(asked if name < 5 else other, [name])
        finished(session)
        assert row.tokens == single.tokens
