"""The sampler against a slow loop, its shapes, its noise and its queue."""

import dataclasses
import itertools
import weakref

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.draw import inverse_cdf, next_token
from jaxrl.errors import UserError
from jaxrl.rollout.keeping import keeper
from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.shapes import SamplerShape, sampler_shape
from jaxrl.rollout.types import Sampling
from models.config import DecoderConfig
from models.decoder import language_model
from tests import tiny

VOCAB, EOS = 23, 1
CONFIG = DecoderConfig(
    vocab_size=VOCAB,
    hidden_size=16,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=4,
    mlp_size=24,
    qk_norm=True,
)
SHAPE = SamplerShape(
    prompts=2,
    samples=4,
    prompt_lengths=(6,),
    cache_lengths=(4, 8, 12),
    steps=4,
    admit=2,
)
SAMPLING = Sampling(12, stop_tokens=(EOS,))


@pytest.fixture(scope="module")
def model():
    return language_model(CONFIG)


@pytest.fixture(scope="module")
def params(model):
    # Large weights make decided, varied distributions, so that mistakes show.
    return jax.tree.map(lambda x: 3 * x, model.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def sampler(model, params):
    return Sampler(model, params, SHAPE, decode=lambda ids: "".join(map(chr, ids)))


def prompts(count, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 7, count)
    return [rng.integers(2, VOCAB, n).astype(np.int32) for n in lengths]


LONGEST = 6 + 12


@jax.jit
def padded_logits(params, row, length):
    order = jnp.arange(LONGEST)[None]
    segments = jnp.where(order < length, 0, -1)
    hidden, _ = language_model(CONFIG).forward(params, row, order, segments)
    return hidden[0] @ language_model(CONFIG).unembedding(params).T


def whole_logits(params, tokens):
    """Logits [T, V] of one sequence, without any cache."""
    row = np.zeros((1, LONGEST), np.int32)
    row[0, : len(tokens)] = tokens
    return np.asarray(padded_logits(params, row, len(tokens)))[: len(tokens)]


def test_greedy_equals_a_loop_without_cache(params, sampler):
    asked = prompts(5)
    sampling = dataclasses.replace(SAMPLING, temperature=0.0)
    for prompt, [got] in zip(
        asked, sampler.generate(asked, 1, sampling, (0,)), strict=True
    ):
        expected = list(prompt)
        for _ in range(SAMPLING.max_new_tokens):
            expected.append(int(whole_logits(params, expected)[-1].argmax()))
            if expected[-1] == EOS:
                break
        assert got.tokens.tolist() == expected[len(prompt) :]
        assert got.finished == (expected[-1] == EOS)


@pytest.mark.parametrize(
    "sampling",
    [
        SAMPLING,
        dataclasses.replace(SAMPLING, temperature=0.7),
        dataclasses.replace(SAMPLING, top_k=3),
        dataclasses.replace(SAMPLING, temperature=1.5, top_p=0.8),
    ],
)
def test_log_probabilities_are_those_of_the_distribution_drawn_from(
    params, sampler, sampling
):
    asked = prompts(4)
    for prompt, group in zip(
        asked, sampler.generate(asked, 4, sampling, (1,)), strict=True
    ):
        for got in group:
            tokens = [*prompt, *got.tokens]
            logits = whole_logits(params, tokens)[len(prompt) - 1 : -1]
            logits = logits / sampling.temperature
            for row, token, logp in zip(logits, got.tokens, got.logp, strict=True):
                probs = np.exp(row - row.max())
                probs /= probs.sum()
                order = np.argsort(-probs)
                kept = order[: sampling.top_k or None]
                if sampling.top_p < 1:
                    mass = np.cumsum(probs[order])
                    kept = order[: 1 + int(np.sum(mass < sampling.top_p))]
                assert token in kept
                expected = np.log(probs[token] / probs[kept].sum())
                np.testing.assert_allclose(logp, expected, atol=1e-4)


def test_noise_depends_on_seed_and_row_only(sampler, model, params):
    asked = prompts(6)
    first = sampler.generate(asked, 4, SAMPLING, (3, 0))
    again = sampler.generate(asked, 4, SAMPLING, (3, 0))
    other_step = sampler.generate(asked, 4, SAMPLING, (3, 1))
    chex.assert_trees_all_equal(texts(first), texts(again))
    assert texts(first) != texts(other_step)
    # Twice the slots and other blocks: the company of a row changes, its words do not.
    wide = dataclasses.replace(
        SHAPE, prompts=6, steps=6, cache_lengths=(6, 12), admit=3
    )
    assert texts(Sampler(model, params, wide).generate(asked, 4, SAMPLING, (3, 0))) == (
        texts(first)
    )


def test_samples_of_a_prompt_differ(sampler):
    [group] = sampler.generate(prompts(1), 8, SAMPLING, (0,))
    assert len({tuple(one.tokens) for one in group}) > 4


def texts(groups):
    return [[one.tokens.tolist() for one in group] for group in groups]


def test_more_samples_than_a_slot_and_more_prompts_than_slots(sampler):
    asked = prompts(7)
    groups = sampler.generate(asked, 6, SAMPLING, (5,))
    assert [len(group) for group in groups] == [6] * 7
    for group in groups:
        for one in group:
            assert 0 < len(one.tokens) == len(one.logp) <= SAMPLING.max_new_tokens
            assert one.finished == (one.tokens[-1] == EOS)
            assert EOS not in one.tokens[:-1]


def test_every_prompt_may_have_a_number_of_its_own(sampler):
    counts = [3, 0, 9, 1]
    found = sampler.generate(prompts(4), counts, SAMPLING, (0, 0))
    assert [len(group) for group in found] == counts
    rows = {tuple(row) for group in texts(found) for row in group}
    assert len(rows) > sum(counts) // 2
    equal = sampler.generate(prompts(4), [2] * 4, SAMPLING, (0, 0))
    assert texts(equal) == texts(sampler.generate(prompts(4), 2, SAMPLING, (0, 0)))


def test_a_stop_string_ends_a_response_at_the_token_that_completes_it(sampler):
    asked = prompts(3)
    plain = sampler.generate(asked, 4, SAMPLING, (0,))
    stop = "".join(map(chr, plain[1][2].tokens[1:3]))
    sampling = dataclasses.replace(SAMPLING, stop_strings=(stop,))
    for group, cut in zip(
        plain, sampler.generate(asked, 4, sampling, (0,)), strict=True
    ):
        for whole, got in zip(group, cut, strict=True):
            text = "".join(map(chr, whole.tokens))
            end = text.find(stop)
            expected = text if end < 0 else text[: end + len(stop)]
            assert "".join(map(chr, got.tokens)) == expected
            assert got.finished == (end >= 0 or whole.finished)


def test_streaming_yields_the_same_tokens(sampler):
    asked = prompts(1)
    [[whole]] = sampler.generate(asked, 1, SAMPLING, (2,))
    pieces = list(sampler.stream(asked[0], SAMPLING, (2,)))
    assert [*itertools.chain(*pieces)] == whole.tokens.tolist()


def test_nothing_compiles_after_warm_up(model, params):
    sampler = Sampler(model, params, SHAPE)
    with tiny.compilations() as warm_up:
        assert len(list(sampler.compile(SAMPLING))) > 3
        # The key of a call is made by small programs of their own.
        sampler.generate(prompts(1), 1, SAMPLING, (0, 0))
    assert len(warm_up) > 10
    with tiny.compilations() as later:
        for step in range(20):
            limit = 1 + step % SAMPLING.max_new_tokens
            sampling = dataclasses.replace(SAMPLING, max_new_tokens=limit)
            asked = prompts(1 + step % 5, step)
            sampler.generate(asked, 1 + step % 6, sampling, (0, step))
    assert later == []


@pytest.mark.parametrize(
    ("asked", "sampling", "message"),
    [
        ([np.zeros(0, np.int32)], SAMPLING, r"prompts\[0\] has 0 tokens"),
        ([np.ones(7, np.int32)], SAMPLING, r"7 tokens; the sampler takes 1 to 6"),
        (prompts(1), dataclasses.replace(SAMPLING, max_new_tokens=13), "1 to 12"),
    ],
)
def test_bad_requests_are_one_clear_error(sampler, asked, sampling, message):
    with pytest.raises(UserError, match=message):
        sampler.generate(asked, 1, sampling, (0,))


def test_stop_strings_need_a_tokenizer(model, params):
    sampling = dataclasses.replace(SAMPLING, stop_strings=("x",))
    with pytest.raises(UserError, match=r"decode=tokenizer\.decode"):
        Sampler(model, params, SHAPE).generate(prompts(1), 1, sampling, (0,))


def test_shapes_cover_the_longest_response():
    shape = sampler_shape(
        prompts=4, samples=8, max_prompt_tokens=600, max_new_tokens=100
    )
    assert shape.cache_lengths[-1] >= 100
    assert shape.prompt_lengths == (150, 600)
    assert all(size % shape.steps == 0 for size in shape.cache_lengths)


def test_inverse_cdf_draws_every_token_at_its_frequency(variant):
    rng = np.random.default_rng(0)
    mass = rng.random(300).astype(np.float32) ** 4
    mass[rng.integers(0, 300, 100)] = 0
    uniform = (np.arange(20_000, dtype=np.float32) + 0.5) / 20_000
    drawn = variant(inverse_cdf)(jnp.tile(mass[None], (20_000, 1)), uniform)
    found = np.bincount(np.asarray(drawn), minlength=300) / 20_000
    np.testing.assert_allclose(found, mass / mass.sum(), atol=1.5e-4)
    assert not found[mass == 0].any()


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-24])
def test_inverse_cdf_never_draws_outside_of_the_mass(uniform):
    mass = jnp.zeros((1, 400)).at[0, jnp.array([3, 250])].set(jnp.array([1e-3, 1e3]))
    assert int(inverse_cdf(mass, jnp.array([uniform]))[0]) in (3, 250)


def test_inverse_cdf_draws_what_has_mass_where_sums_round_past_it():
    """A sum and the last of cumulative sums round apart, in either direction."""
    mass = np.random.default_rng(0).random((500, 128)).astype(np.float32)
    mass[:, 100:] = 0
    drawn = np.asarray(inverse_cdf(jnp.asarray(mass), jnp.full(500, 1.0 - 2.0**-24)))
    assert drawn.max() < 100


def test_greedy_ignores_the_noise():
    logits = jax.random.normal(jax.random.key(0), (5, VOCAB))
    token, logp = next_token(logits, jnp.full(5, 0.9), jnp.float32(0))
    chex.assert_trees_all_equal(token, jnp.argmax(logits, -1).astype(jnp.int32))
    expected = jax.nn.log_softmax(logits)[jnp.arange(5), token]
    chex.assert_trees_all_close(logp, expected, atol=1e-6)


def test_sampling_keeps_the_policy_in_the_type_of_the_products(params):
    """Casting once changes no token: products cast anyway."""
    model = language_model(dataclasses.replace(CONFIG, dtype="bfloat16"))
    kept = keeper(model, params)(params)
    assert {x.dtype for x in jax.tree.leaves(kept)} == {jnp.dtype("bfloat16")}
    tokens = jnp.arange(2, 8)[None]
    order = jnp.arange(6)[None]
    inputs = (tokens, order, jnp.zeros_like(order))
    chex.assert_trees_all_equal(
        model.forward(kept, *inputs), model.forward(params, *inputs)
    )
    assert keeper(language_model(CONFIG), params)(params) is params


def test_a_released_sampler_holds_no_policy(params, model):
    copy = jax.tree.map(jnp.copy, params)
    held = weakref.ref(jax.tree.leaves(copy)[0])
    sampler = Sampler(model, copy, SamplerShape(1, 1, (4,), (4,), steps=4, admit=1))
    del copy
    assert held() is not None
    sampler.release()
    assert held() is None
