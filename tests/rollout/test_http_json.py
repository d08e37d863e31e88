"""One exchange by a deadline, with servers that keep it and servers that don't."""

import socket
import time

import pytest

from jaxrl.rollout.http_json import StatusError, exchange, persistently
from tests.rollout import completions_server as server
from tests.rollout.completions_server import serving

BODY = {"model": server.MODEL, "prompt": [1, 2]}


def ask(url, *, seconds=10.0, body=BODY):
    expires = time.monotonic() + seconds
    return exchange(f"{url}/completions", body=body, headers={}, expires=expires)


def test_an_exchange_returns_the_answers_json():
    with serving() as bigrams:
        assert ask(bigrams.url)["object"] == "text_completion"
        path, headers, body = bigrams.requests[0]
    assert (path, body) == ("/v1/completions", BODY)
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("behave", [server.hang, server.trickle])
def test_a_slow_answer_ends_at_the_deadline(behave):
    with serving(lambda prompt, earlier: behave) as bigrams:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(bigrams.url, seconds=0.4)
        assert 0.3 < time.monotonic() - start < 3


def test_an_unanswered_connection_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", seconds=0.3)
        assert time.monotonic() - start < 3


def test_a_status_keeps_its_number_and_explanation():
    with (
        serving(lambda prompt, earlier: server.status(418, "teapot")) as bigrams,
        pytest.raises(StatusError, match=r"HTTP 418.*teapot") as caught,
    ):
        ask(bigrams.url)
    assert caught.value.status == 418


@pytest.mark.parametrize("behave", [server.hang_up, server.break_off])
def test_a_lost_connection_is_a_connection_error(behave):
    with (
        serving(lambda prompt, earlier: behave) as bigrams,
        pytest.raises(ConnectionError),
    ):
        ask(bigrams.url)


def test_no_server_is_a_connection_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionError):
        ask(f"http://127.0.0.1:{port}/v1")


def test_no_json_is_a_value_error():
    with (
        serving(lambda prompt, earlier: server.raw(b"<html>")) as bigrams,
        pytest.raises(ValueError, match="Expecting value"),
    ):
        ask(bigrams.url)


def failing(errors):
    """A call that raises one error after the other, then returns their number."""
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return len(errors)

    return call


def soon():
    return time.monotonic() + 30


@pytest.mark.parametrize(
    "error",
    [
        StatusError(429, ""),
        StatusError(500, ""),
        StatusError(503, ""),
        ConnectionError(),
    ],
)
def test_what_passes_is_tried_again(error):
    call = failing([error, error])
    assert persistently(call, attempts=3, wait=0.001, expires=soon()) == 2


@pytest.mark.parametrize("code", [301, 400, 401, 404, 422])
def test_what_lasts_is_not_tried_again(code):
    call = failing([StatusError(code, "")])
    with pytest.raises(StatusError):
        persistently(call, attempts=3, wait=0.001, expires=soon())
    assert call() == 1


def test_attempts_are_bounded():
    call = failing([ConnectionError(), ConnectionError(), ConnectionError()])
    with pytest.raises(ConnectionError):
        persistently(call, attempts=2, wait=0.001, expires=soon())
    with pytest.raises(ConnectionError):
        call()
    assert call() == 3


def test_waits_double_and_never_pass_the_deadline():
    start = time.monotonic()
    call = failing([ConnectionError(str(number)) for number in range(9)])
    with pytest.raises(ConnectionError) as caught:
        persistently(call, attempts=9, wait=0.1, expires=start + 0.6)
    # 0.1 and 0.2 fit; 0.4 more would be too late, and all of them take 25 seconds.
    assert 0.3 <= time.monotonic() - start < 5
    assert str(caught.value) == "2"
