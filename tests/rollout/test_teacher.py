"""A teacher's views placed in batches of every layout, against the episodes' tokens."""

import dataclasses

import numpy as np
import pytest

from jaxrl.rollout.batching import Packed, Rows, SharedPrompt, to_batch
from jaxrl.rollout.teacher import TeacherView, scored_sequences, with_teacher
from jaxrl.rollout.types import Completion, Episode, Failure, Problem, Trace, Turn
from tests import tiny

VOCABULARY = 16
FAILED = Failure("timeout", "as an example")
LAYOUTS = list(tiny.LAYOUTS)


def opinion(tokens, position):
    """A log-probability that depends on everything up to the position, and only it."""
    return -float(np.dot(tokens[: position + 1], np.arange(1, position + 2)) % 97) / 7


def view_of(tokens, top_k=0):
    """The opinion of each token; the k-th likeliest is the token plus k."""
    logp = np.array([opinion(tokens, i) for i in range(len(tokens))], np.float32)
    ids = (tokens[:, None] + np.arange(top_k)).astype(np.int32)
    top_logp = (logp[:, None] - np.arange(top_k)).astype(np.float32)
    return TeacherView(logp, ids, top_logp, np.ones_like(ids, bool))


def answer(batch, fail=(), top_k=0):
    """Views of the whole batch; those at the places `fail` are failures."""
    asked = scored_sequences(batch)
    return [
        FAILED if place in fail else view_of(sequence.tokens, top_k)
        for place, sequence in enumerate(asked)
    ]


def trained_traces(episodes):
    traces = [episode.traces[0] for episode in episodes]
    return [trace for trace in traces if trace.failure is None]


def whole(trace):
    turn = trace.turns[0]
    return [*turn.prompt.tolist(), *turn.completion.tokens.tolist()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_trained_sequence_is_asked_about_with_its_prompt(layout):
    asked = scored_sequences(tiny.batch(layout))
    expected = [whole(trace) for trace in trained_traces(tiny.episodes())]
    assert sorted(s.tokens.tolist() for s in asked) == sorted(expected)
    assert len({s.index for s in asked}) == len(asked) == 15
    for sequence in asked:
        assert sequence.tokens.dtype == np.int32
        assert sequence.mask.dtype == bool


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_cover_what_the_policy_sampled(layout):
    sampled = [
        (whole(trace), len(trace.turns[0].completion.tokens))
        for trace in trained_traces(tiny.episodes())
    ]
    found = []
    for sequence in scored_sequences(tiny.batch(layout)):
        count = int(sequence.mask.sum())
        assert sequence.mask[-count:].all()
        found.append((sequence.tokens.tolist(), count))
    assert sorted(found) == sorted(sampled)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("top_k", [0, 3])
def test_views_lie_on_the_tokens_they_are_about(layout, top_k):
    batch = tiny.batch(layout)
    got, failures = with_teacher(
        batch, answer(batch, top_k=top_k), top_k=top_k, vocab_size=99
    )
    assert failures == 0
    asked = {sequence.index: sequence for sequence in scored_sequences(batch)}
    seen = dict.fromkeys(asked, 0)
    for row, column in np.argwhere(batch.mask):
        index = int(batch.sequence[row, column])
        sequence = asked[index]
        position = np.flatnonzero(sequence.mask)[seen[index]]
        seen[index] += 1
        expected = opinion(sequence.tokens, position)
        assert got.evidence.teacher_logp[row, column] == np.float32(expected)
        if top_k:
            token = batch.tokens[row, column]
            top = got.evidence.teacher_top
            assert top.ids[row, column].tolist() == [token, token + 1, token + 2]
            np.testing.assert_allclose(
                top.logp[row, column], expected - np.arange(3), rtol=1e-6
            )
            assert top.valid[row, column].all()
    assert not got.evidence.teacher_logp[~batch.mask].any()
    if top_k == 0:
        assert got.evidence.teacher_top is None
    else:
        assert not got.evidence.teacher_top.valid[~batch.mask].any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_failures_nothing_but_the_evidence_changes(layout):
    batch = tiny.batch(layout)
    got, _ = with_teacher(batch, answer(batch), top_k=0, vocab_size=VOCABULARY)
    for field in dataclasses.fields(batch):
        if field.name not in ("evidence", "prefix", "steps"):
            before, after = getattr(batch, field.name), getattr(got, field.name)
            np.testing.assert_array_equal(before, after, strict=True)
    assert got.prefix is batch.prefix
    assert got.evidence.teacher_logp.dtype == np.float32


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_failed_view_takes_out_its_sequence_and_no_other(layout):
    batch = tiny.batch(layout)
    asked = scored_sequences(batch)
    lost = [asked[place].index for place in (2, 9)]
    got, failures = with_teacher(
        batch, answer(batch, fail=(2, 9), top_k=2), top_k=2, vocab_size=99
    )
    assert failures == 2
    gone = np.isin(batch.sequence, lost)
    assert not got.mask[gone].any()
    np.testing.assert_array_equal(got.mask[~gone], batch.mask[~gone])
    np.testing.assert_array_equal(got.tokens, batch.tokens)
    assert not got.rewards[lost].any()
    assert not got.evidence.teacher_logp[gone].any()
    assert not got.evidence.teacher_top.valid[gone].any()
    untouched, _ = with_teacher(batch, answer(batch, top_k=2), top_k=2, vocab_size=99)
    np.testing.assert_array_equal(
        got.evidence.teacher_logp[~gone], untouched.evidence.teacher_logp[~gone]
    )
    check_groups(batch.group, got.group, lost)


def check_groups(before, after, lost):
    """Whoever was compared still is, but for those in `lost`, which are alone."""
    assert after.dtype == np.int32
    assert set(after.tolist()) == set(range(len(set(after.tolist()))))
    for one in range(len(before)):
        for other in range(len(before)):
            alone = one in lost or other in lost
            same = one == other or (before[one] == before[other] and not alone)
            assert (after[one] == after[other]) == same


def test_a_failed_view_looks_like_a_failed_reward():
    """Field by field what `to_batch` makes where a reward failed."""
    episodes = tiny.episodes()
    lost = dataclasses.replace(episodes[7].traces[0], failure=FAILED)
    failed = [*episodes]
    failed[7] = dataclasses.replace(episodes[7], traces=(lost,))
    for layout in tiny.LAYOUTS.values():
        batch = to_batch(episodes, layout=layout)
        expected = to_batch(failed, layout=layout)
        tokens = whole(episodes[7].traces[0])
        place = next(
            i
            for i, s in enumerate(scored_sequences(batch))
            if s.tokens.tolist() == tokens
        )
        got, _ = with_teacher(
            batch, answer(batch, fail=(place,)), top_k=0, vocab_size=VOCABULARY
        )
        for name in ("tokens", "mask", "turn", "old_logp", "rewards", "group"):
            np.testing.assert_array_equal(
                getattr(got, name), getattr(expected, name), strict=True
            )


def test_all_views_failed_leaves_nothing_to_train():
    batch = tiny.batch("packed")
    views = [FAILED for _ in scored_sequences(batch)]
    got, failures = with_teacher(batch, views, top_k=4, vocab_size=VOCABULARY)
    assert failures == len(views)
    assert not got.mask.any()
    assert scored_sequences(got) == []


def test_tokens_beyond_the_students_vocabulary_are_invalid():
    batch = tiny.batch("rows")
    got, _ = with_teacher(batch, answer(batch, top_k=5), top_k=5, vocab_size=VOCABULARY)
    top = got.evidence.teacher_top
    expected = (batch.tokens[..., None] + np.arange(5) < VOCABULARY) & batch.mask[
        ..., None
    ]
    np.testing.assert_array_equal(top.valid, expected)
    assert not top.valid.all()
    assert top.ids.max() < VOCABULARY


def test_more_than_top_k_is_cut_and_invalid_entries_stay_invalid():
    batch = tiny.batch("shared")
    views = [
        view._replace(top_valid=view.top_valid & (np.arange(4) != 1))
        for view in answer(batch, top_k=4)
    ]
    got, _ = with_teacher(batch, views, top_k=2, vocab_size=99)
    assert got.evidence.teacher_top.ids.shape == (*batch.tokens.shape, 2)
    valid = got.evidence.teacher_top.valid[batch.mask]
    np.testing.assert_array_equal(valid, np.broadcast_to([True, False], valid.shape))


def test_views_that_do_not_belong_to_the_batch_are_an_error():
    batch = tiny.batch("rows")
    with pytest.raises(ValueError, match="shorter"):
        with_teacher(batch, answer(batch)[:-1], top_k=0, vocab_size=VOCABULARY)


@pytest.mark.parametrize(
    "layout",
    [
        SharedPrompt(prompts=1, samples=2, prompt_lengths=(4,), response_lengths=(12,)),
        Rows(2, (14,)),
        Packed(1, 28, 3),
    ],
    ids=["shared", "rows", "packed"],
)
def test_later_turns_are_asked_about_in_one_sequence(layout):
    """A tool's tokens between two turns are context: seen, but not trained."""

    def sample(*turns):
        made = tuple(
            Turn(
                np.array(prompt, np.int32),
                Completion(
                    np.array(drawn, np.int32), np.zeros(len(drawn), np.float32), 0, True
                ),
            )
            for prompt, drawn in turns
        )
        return Episode(Problem("", "", ""), (Trace(made, (1.0,)),), 0)

    episodes = [
        sample(([3, 4], [5, 6]), ([3, 4, 5, 6, 7, 8], [9])),
        sample(([3, 4], [10])),
    ]
    batch = to_batch(episodes, layout=layout)
    asked = sorted(scored_sequences(batch), key=lambda s: s.index)
    assert asked[0].tokens.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert np.flatnonzero(asked[0].mask).tolist() == [2, 3, 6]
    assert asked[1].tokens.tolist() == [3, 4, 10]
    got, _ = with_teacher(batch, answer(batch), top_k=0, vocab_size=VOCABULARY)
    row, column = np.argwhere(batch.tokens == 9)[0]
    expected = np.float32(opinion(asked[0].tokens, 6))
    assert got.evidence.teacher_logp[row, column] == expected
