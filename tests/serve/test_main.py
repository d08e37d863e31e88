"""The command: its options, its end, and weights that come while it serves."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest
import uvicorn

import jaxrl.serve.http
from jaxrl.cli import MISTAKE, OK, main
from jaxrl.errors import UserError
from jaxrl.rollout.engines import VLLM
from jaxrl.rollout.served import ServedSampler
from jaxrl.rollout.server import RolloutServer
from jaxrl.rollout.types import Sampling
from jaxrl.serve.main import Options, serve, sizes
from tests import tiny
from tests.serve.served import MODEL, OPTIONS, client, prepared, running


def test_sizes_follow_from_the_model():
    assert sizes(Options(), 100_000) == (4096, 1024)
    assert sizes(Options(), 300) == (300, 150)
    assert sizes(Options(context=200, max_tokens=40), 300) == (200, 40)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"context": 301}, "context is 301; the model knows 300"),
        ({"context": 1}, "context is 1; .* need 2"),
        ({"max_tokens": 300}, "max_tokens is 300; give 1 to 299"),
        ({"context": 0}, "context is 0; the model knows 300"),
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"max_tokens": 0}, "max_tokens is 0; give 1 to 299"),
        ({"concurrency": 0}, "concurrency is 0; give 1 or more"),
        ({"queue": -1}, "queue is -1; give 0 or more"),
    ],
)
def test_sizes_that_do_not_fit_are_one_clear_error(fields, message):
    with pytest.raises(UserError, match=message):
        sizes(Options(**fields), 300)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "checkpoint is nowhere, which is not a directory"),
        ([".", "--loads", "nowhere"], "loads is nowhere, which is not a directory"),
        ([".", "--api-key-env", "NOT_SET"], "api_key_env is NOT_SET, which holds no"),
    ],
)
def test_mistakes_end_the_command(capsys, words, message):
    assert main(["serve", *words]) == MISTAKE
    assert message in capsys.readouterr().err


def test_a_taken_port_is_a_clear_error():
    with (
        jaxrl.serve.http.serving(lambda *_: None, "127.0.0.1", 0) as address,
        pytest.raises(UserError, match="choose another port"),
        jaxrl.serve.http.serving(lambda *_: None, "127.0.0.1", int(address[-5:])),
    ):
        pass


def test_a_thread_that_ends_before_it_serves_is_an_error(monkeypatch):
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_: None)
    with (
        pytest.raises(RuntimeError, match="HTTP thread ended"),
        jaxrl.serve.http.serving(lambda *_: None, "127.0.0.1", 0),
    ):
        pass


def test_without_the_extra_there_is_one_clear_error():
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from jaxrl.errors import UserError\n"
        "try: import jaxrl.serve\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "serving needs uvicorn; install the extra: pip install 'jaxrl[serve]'\n"
    )


@contextlib.contextmanager
def command(*words, **environment):
    """The program; yields it and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxrl", "serve", *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment or None,
    )
    try:
        yield process, process.stdout.readline().split()[-1].removesuffix("/v1")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_the_command_serves_and_finishes_what_it_began_when_told_to_end(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("THE_KEY", "secret")
    # A run's directory, after which the model is named.
    run = tiny.write_policy(tmp_path / "digits" / "model").parent
    (run / "checkpoints").mkdir()
    words = (run, "--port", 0, "--context", 120, "--api-key-env", "THE_KEY")
    with command(*words) as (process, address), client(address) as stranger:
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        asking = stranger.with_options(api_key="secret")
        with pytest.raises(openai.BadRequestError, match="chat template"):
            asking.chat.completions.create(
                model="digits", messages=[{"role": "user", "content": "1"}]
            )
        asked = {"model": "digits", "prompt": "12", "seed": 1, "n": 16}
        whole = asking.completions.create(**asked, max_tokens=60)
        stream = asking.completions.create(**asked, max_tokens=60, stream=True)
        texts = [""] * 16
        for number, piece in enumerate(stream):
            if number == 0:
                process.send_signal(signal.SIGTERM)
            texts[piece.choices[0].index] += piece.choices[0].text
        assert texts == [choice.text for choice in whole.choices]
        assert process.wait(30) == OK


@pytest.mark.slow
def test_an_episode_that_is_open_at_the_end_is_kept(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = dataclasses.replace(OPTIONS, port=port, record=tmp_path / "episodes")

    def play():
        with client(f"http://127.0.0.1:{port}/episodes/a", max_retries=8) as asking:
            asked = [{"role": "user", "content": "12"}]
            pieces = asking.chat.completions.create(
                model=MODEL, messages=asked, stream=True
            )
            next(iter(pieces))
            os.kill(os.getpid(), signal.SIGTERM)
            return [*pieces]

    with ThreadPoolExecutor(1) as threads, tiny.cached_compilation():
        path = tiny.write_policy(tmp_path / "policy")
        playing = threads.submit(play)
        serve(path, options)
        assert playing.result()[-1].choices[0].finish_reason
    record = json.loads((options.record / "open" / "a.json").read_text())
    assert record["rewards"] is None
    assert len(record["turns"]) == 1


@pytest.mark.slow
def test_a_run_publishes_its_policies_to_it(tmp_path):
    published = tmp_path / "published"
    published.mkdir()
    options = dataclasses.replace(OPTIONS, loads=published)
    with running(prepared(tmp_path / "policy", options)) as address:
        server = RolloutServer((address,), MODEL, VLLM)
        drawing = ServedSampler(
            server,
            lambda path, seed: tiny.write_policy(path, seed),
            published,
            vocab_size=tiny.ARCHITECTURE.vocab_size,
        )
        prompt, sampling = np.array([4, 5], np.int32), Sampling(16)
        drawn = {}
        for version, seed in enumerate((1, 0, 1)):
            drawing.update(seed, version)
            [found] = drawing.generate([prompt], 4, sampling, (0,))
            assert not any(one.failure for one in found)
            drawn[version] = [one.tokens.tolist() for one in found]
        assert drawn[0] == drawn[2] != drawn[1]
        with (
            client(address) as asking,
            pytest.raises(openai.BadRequestError, match="no directory below"),
        ):
            asking.with_options(base_url=address).post(
                "/collective_rpc",
                cast_to=object,
                body={
                    "method": "reload_weights",
                    "kwargs": {"weights_path": str(tmp_path / "policy")},
                },
            )
