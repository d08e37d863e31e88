"""A teacher on a loopback server whose every log-probability is known."""

import dataclasses
import json
import re
import socket
import time

import numpy as np
import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.client import Encoding, ServedTeacher
from jaxrl.rollout.logprobs import echoed_logprobs, prompt_logprobs
from jaxrl.rollout.teacher import TeacherView, scored_sequences, with_teacher
from jaxrl.rollout.types import Failure
from tests import tiny
from tests.rollout import completions_server as server
from tests.rollout.completions_server import BIGRAMS, MODEL, VOCABULARY, serving

SCORINGS = pytest.mark.parametrize("scoring", [prompt_logprobs, echoed_logprobs])
PROBE = np.array([3, 4, VOCABULARY - 1], np.int32)
KEY = "sk-secret-0123456789"
VARIABLE = "JAXRL_TEST_TEACHER_KEY"


def teacher_of(bigrams, **options):
    return ServedTeacher(bigrams.url, MODEL, **({"wait": 0.01} | options))


def check(teacher, *, top_k=2, longest=100):
    teacher.check(PROBE, top_k=top_k, longest=longest)


def predecessors(batch):
    """What comes before each token, int [N, T]; -1 where nothing does. By loops."""
    before = np.full(batch.tokens.shape, -1)
    for row, column in np.argwhere(batch.sequence >= 0):
        same = column > 0 and (
            batch.sequence[row, column - 1] == batch.sequence[row, column]
        )
        if same:
            before[row, column] = batch.tokens[row, column - 1]
        elif batch.prefix is not None:
            prompt = row // (len(batch.tokens) // len(batch.prefix.tokens))
            last = batch.prefix.length[prompt] - 1
            before[row, column] = batch.prefix.tokens[prompt, last]
    return before


def check_placed(got, trained, top_k):
    """The evidence at the trained tokens, against the table of bigrams."""
    before = predecessors(got)
    for row, column in np.argwhere(trained):
        known = BIGRAMS[before[row, column]]
        expected = known[got.tokens[row, column]]
        found = got.evidence.teacher_logp[row, column]
        assert found == pytest.approx(expected, rel=1e-5)
        if top_k:
            best = np.argsort(-known)[:top_k]
            ids = got.evidence.teacher_top.ids[row, column]
            assert ids.tolist() == best.tolist()
            np.testing.assert_allclose(
                got.evidence.teacher_top.logp[row, column], known[best], rtol=1e-5
            )
    assert not got.evidence.teacher_logp[~trained].any()


@SCORINGS
@pytest.mark.parametrize("layout", tiny.LAYOUTS)
@pytest.mark.parametrize("top_k", [0, 1, 4])
def test_a_batch_of_any_layout_gets_the_servers_log_probabilities(
    scoring, layout, top_k
):
    batch = tiny.batch(layout)
    with serving() as bigrams:
        teacher = teacher_of(bigrams, scoring=scoring)
        views = teacher.score(scored_sequences(batch), top_k=top_k)
    got, failures = with_teacher(batch, views, top_k=top_k, vocab_size=VOCABULARY)
    assert failures == 0
    np.testing.assert_array_equal(got.mask, batch.mask)
    check_placed(got, batch.mask, top_k)


def drop_position(choice):
    del choice["prompt_logprobs"][-1]


def drop_token(choice):
    """Leave out what the last position says of the prompt's own token."""
    choice["prompt_logprobs"][-1] = {"0": {"logprob": -50.0}}


def write(value):
    """Put a value in the place of every log-probability of the last position."""

    def edit(choice):
        for entry in choice["prompt_logprobs"][-1].values():
            entry["logprob"] = value

    return edit


FAULTS = {
    "500 always": server.status(500),
    "503 always": server.status(503, "overloaded"),
    "400": server.status(400, "prompt is too long"),
    "hang": server.hang,
    "trickle": server.trickle,
    "hang up": server.hang_up,
    "break off": server.break_off,
    "no JSON": server.raw(b"{"),
    "no UTF-8": server.raw(b"\xff\xfe"),
    "deep JSON": server.raw(b"[" * 100_000),
    "empty": server.raw(b""),
    "null": server.raw(b"null"),
    "error with status 200": server.raw(b'{"error": {"message": "no"}}'),
    "too short": server.edited(drop_position),
    "token missing": server.edited(drop_token),
    "null number": server.edited(write(None)),
    "NaN": server.edited(write(float("nan"))),
    "-inf": server.edited(write(float("-inf"))),
    "clamped -inf": server.edited(write(-9999.0)),
    "positive": server.edited(write(3.0)),
    "text": server.edited(write("-1.0")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_sequences_trouble_is_counted_and_masked_and_costs_no_other(name):
    batch = tiny.batch("packed")
    asked = scored_sequences(batch)
    troubled = asked[4]

    def fault(prompt, earlier):
        return FAULTS[name] if prompt == troubled.tokens.tolist() else None

    with serving(fault) as bigrams:
        slow = name in ("hang", "trickle")
        teacher = teacher_of(bigrams, deadline=1.5 if slow else 30.0, attempts=2)
        views = teacher.score(asked, top_k=2)
    failed = [i for i, view in enumerate(views) if isinstance(view, Failure)]
    assert failed == [4]
    assert views[4].kind == ("timeout" if slow else "error")
    assert views[4].message
    got, failures = with_teacher(batch, views, top_k=2, vocab_size=VOCABULARY)
    assert failures == 1
    gone = batch.sequence == troubled.index
    np.testing.assert_array_equal(got.mask, batch.mask & ~gone)
    check_placed(got, batch.mask & ~gone, 2)


@pytest.mark.parametrize(
    "behave", [server.status(500), server.status(429), server.hang_up, server.break_off]
)
def test_trouble_that_passes_costs_nothing(behave):
    sequences = scored_sequences(tiny.batch("rows"))

    def fault(prompt, earlier):
        return behave if earlier == 0 else None

    with serving(fault) as bigrams:
        views = teacher_of(bigrams, concurrency=3).score(sequences, top_k=1)
        assert len(bigrams.requests) == 2 * len(sequences)
    assert all(isinstance(view, TeacherView) for view in views)


def test_a_request_that_is_refused_is_not_repeated():
    sequences = scored_sequences(tiny.batch("rows"))
    with serving(lambda prompt, earlier: server.status(400)) as bigrams:
        views = teacher_of(bigrams).score(sequences, top_k=0)
        assert len(bigrams.requests) == len(sequences)
    assert {view.kind for view in views} == {"error"}


def test_without_a_server_every_sequence_fails_by_itself():
    sequences = scored_sequences(tiny.batch("rows"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    views = ServedTeacher(url, MODEL, wait=0.01).score(sequences, top_k=0)
    assert len(views) == len(sequences)
    assert all(isinstance(view, Failure) for view in views)


def test_hanging_requests_end_together_at_the_deadline():
    sequences = scored_sequences(tiny.batch("rows"))
    with serving(lambda prompt, earlier: server.hang) as bigrams:
        start = time.monotonic()
        views = teacher_of(bigrams, deadline=0.5, concurrency=15).score(
            sequences, top_k=0
        )
        assert time.monotonic() - start < 5
    assert {view.kind for view in views} == {"timeout"}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_than_allowed_are_under_way(concurrency):
    sequences = scored_sequences(tiny.batch("rows"))
    with serving(delay=0.02) as bigrams:
        teacher_of(bigrams, concurrency=concurrency).score(sequences, top_k=0)
        assert bigrams.busiest == concurrency


def test_nothing_to_score_asks_nothing():
    with serving() as bigrams:
        assert teacher_of(bigrams).score([], top_k=3) == []
        assert bigrams.requests == []


@SCORINGS
def test_a_server_that_can_score_passes_the_check(scoring):
    with serving(max_model_len=101) as bigrams:
        check(teacher_of(bigrams, scoring=scoring), top_k=20, longest=100)


@SCORINGS
def test_more_likely_tokens_than_the_server_gives_is_an_error(scoring):
    with (
        serving(max_logprobs=5) as bigrams,
        pytest.raises(UserError, match=r"6 likeliest.*more than 5.*--max-logprobs"),
    ):
        check(teacher_of(bigrams, scoring=scoring), top_k=6)


def test_a_model_that_is_not_served_is_an_error():
    with (
        serving() as bigrams,
        pytest.raises(UserError, match=r"'other'.*serves \['bigrams'\]"),
    ):
        check(dataclasses.replace(teacher_of(bigrams), model="other"))


def test_sequences_longer_than_the_server_takes_are_an_error():
    with (
        serving(max_model_len=100) as bigrams,
        pytest.raises(UserError, match=r"max_model_len 100.*up to 100 tokens"),
    ):
        check(teacher_of(bigrams), longest=100)


def test_ids_beyond_the_servers_vocabulary_are_an_error():
    beyond = np.array([1, VOCABULARY], np.int32)
    with serving() as bigrams, pytest.raises(UserError, match="out of vocabulary"):
        teacher_of(bigrams).check(beyond, top_k=0, longest=9)


@pytest.mark.parametrize(
    ("top_k", "edit"),
    [
        (0, lambda choice: choice.pop("prompt_logprobs")),
        (2, lambda choice: choice.update(prompt_logprobs=None)),
    ],
)
def test_a_server_that_scores_no_prompts_is_an_error(top_k, edit):
    with (
        serving(lambda prompt, earlier: server.edited(edit)) as bigrams,
        pytest.raises(UserError, match=r"no prompt_logprobs.*echoed_logprobs"),
    ):
        check(teacher_of(bigrams), top_k=top_k)


def test_an_address_without_the_version_is_an_error():
    with serving() as bigrams:
        teacher = dataclasses.replace(
            teacher_of(bigrams), url=bigrams.url.removesuffix("/v1")
        )
        with pytest.raises(UserError, match=r"HTTP 404.*should end where /models"):
            check(teacher)


def test_a_slash_at_the_end_of_the_address_changes_nothing():
    with serving() as bigrams:
        check(dataclasses.replace(teacher_of(bigrams), url=bigrams.url + "/"))


def test_no_server_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(UserError, match="is the server running"):
        check(ServedTeacher(url, MODEL, wait=0.01))


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "ftp://localhost/v1",
        "http://",
        "http://host:port/v1",
        "http://[::1/v1",
        "http://user:word@host/v1",
        "http://host/v1?key=word",
        "http://host/v1\n",
        "",
    ],
)
def test_what_is_no_address_is_an_error_that_repeats_no_password(url):
    with pytest.raises(UserError, match=r"teacher_server\.url") as caught:
        ServedTeacher(url, MODEL)
    assert "word@" not in str(caught.value)
    assert "key=word" not in str(caught.value)


@pytest.mark.parametrize(
    "option", [{"concurrency": 0}, {"attempts": 0}, {"deadline": 0.0}]
)
def test_limits_that_allow_nothing_are_an_error(option):
    with pytest.raises(UserError, match=next(iter(option))):
        ServedTeacher("http://localhost/v1", MODEL, **option)


def test_the_key_of_the_environment_is_sent(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY + "\n")
    sequences = scored_sequences(tiny.batch("rows"))
    with serving(key=KEY) as bigrams:
        teacher = teacher_of(bigrams, api_key_env=VARIABLE)
        check(teacher)
        views = teacher.score(sequences, top_k=0)
    assert not [view for view in views if isinstance(view, Failure)]
    assert KEY not in repr(teacher)


def test_a_key_that_is_refused_is_one_error_that_does_not_repeat_it(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    with serving(key="another") as bigrams:
        teacher = teacher_of(bigrams, api_key_env=VARIABLE)
        with pytest.raises(UserError, match=rf"HTTP 401.*{VARIABLE}") as caught:
            check(teacher)
        assert len(bigrams.requests) == 1
        views = teacher.score(scored_sequences(tiny.batch("rows")), top_k=0)
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)
    assert all("***" in view.message and KEY not in view.message for view in views)


def test_half_of_a_key_is_not_shown_either(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    long = server.status(400, "x" * 260 + KEY + "y" * 999)
    with serving(lambda prompt, earlier: long) as bigrams:
        teacher = teacher_of(bigrams, api_key_env=VARIABLE)
        (view, *_) = teacher.score(scored_sequences(tiny.batch("rows")), top_k=0)
    assert "xxx" in view.message
    assert len(view.message) == 300
    assert KEY[:4] not in view.message


def test_a_key_that_is_needed_and_not_given_is_an_error():
    with (
        serving(key=KEY) as bigrams,
        pytest.raises(UserError, match=r"HTTP 401.*teacher_server\.api_key_env"),
    ):
        check(teacher_of(bigrams))


@pytest.mark.parametrize("value", [None, "", " ", "line\nbreak", "schlüssel"])
def test_a_variable_without_a_key_is_an_error_that_does_not_show_it(monkeypatch, value):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with serving() as bigrams:
        teacher = teacher_of(bigrams, api_key_env=VARIABLE)
        with pytest.raises(UserError, match="holds no key") as caught:
            check(teacher)
        assert bigrams.requests == []
    assert not (value and value.strip()) or value not in str(caught.value)


def test_the_server_tells_how_it_encodes_a_text():
    with serving(encode=lambda text: [7, 8]) as bigrams:
        assert teacher_of(bigrams).encode("some text") == Encoding((7, 8), 2)
        _, _, body = bigrams.requests[0]
    assert body["prompt"] == "some text"
    assert body["add_special_tokens"] is False


def test_a_server_without_ids_tells_how_many_tokens_there_are():
    edit = server.edited(lambda choice: choice.pop("prompt_token_ids"))
    with serving(lambda prompt, earlier: edit) as bigrams:
        assert teacher_of(bigrams).encode("abc") == Encoding(None, 3)


def test_a_server_that_tells_neither_is_an_error():
    answer = server.raw(json.dumps({"choices": [{"text": "x"}]}).encode())
    with (
        serving(lambda prompt, earlier: answer) as bigrams,
        pytest.raises(UserError, match=re.escape("how many tokens")),
    ):
        teacher_of(bigrams).encode("abc")
