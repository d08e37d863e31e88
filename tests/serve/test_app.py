"""A whole server over HTTP, asked by OpenAI's own client and by ours."""

import dataclasses
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest

from jaxrl.rollout.chat_server import ChatServer
from jaxrl.rollout.client import ServedTeacher
from jaxrl.rollout.logprobs import echoed_logprobs, prompt_logprobs
from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.server import RolloutServer
from jaxrl.rollout.shapes import sampler_shape
from jaxrl.rollout.teacher import ScoredSequence
from jaxrl.rollout.types import Problem, Sampling
from jaxrl.serve import service
from jaxrl.serve.jobs import Job
from jaxrl.serve.records import episode_of
from jaxrl.serve.service import noise_name
from tests import tiny, tiny_environments
from tests.serve.served import MODEL, OPTIONS, Gate, client, prepared, running

ASKED = [{"role": "user", "content": "12"}]
ADD = tiny_environments.ADD.declaration
CHAT = json.dumps({"model": MODEL, "messages": ASKED}).encode()
ROOM = OPTIONS.concurrency + OPTIONS.queue


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("served")
    options = dataclasses.replace(OPTIONS, record=directory / "episodes")
    return prepared(directory / "policy", options)


@pytest.fixture(scope="module")
def gate():
    return Gate()


@pytest.fixture(scope="module")
def address(server, gate):
    with running(server, gate) as found:
        yield found


@pytest.fixture(scope="module")
def asking(address):
    with client(address) as found:
        yield found


def chat(asking, messages=ASKED, **options):
    options = {"model": MODEL, "seed": 5, **options}
    return asking.chat.completions.create(messages=messages, **options)


def expected(prompt, count=1, size=24, seed=5, **sampling):
    """What the sampler draws for a request, by itself."""
    shape = sampler_shape(
        prompts=4, samples=1, max_prompt_tokens=48, max_new_tokens=size
    )
    alone = Sampler(tiny.MODEL, tiny.params(), shape)
    session = alone.open(Sampling(size, stop_tokens=(tiny.EOS,), **sampling), (0,))
    names = [noise_name(seed, place) for place in range(count)]
    rows = session.submit(np.array(prompt, np.int32), names)
    while session.busy:
        session.advance()
    return [row.completion(0) for row in rows]


PROMPT = [4, 5, 14]  # "12="


def test_nothing_compiles_once_the_server_listens(asking):
    def ask(number):
        chat(
            *(asking, [{"role": "user", "content": "1" * (1 + number % 9)}]),
            **{"seed": number, "n": 1 + number % 3, "temperature": number / 4},
            max_tokens=1 + number,
            logprobs=number % 2 == 0,
        )
        asking.completions.create(
            model=MODEL,
            prompt="1+2=" * (1 + number),
            max_tokens=1,
            echo=True,
            logprobs=1,
        )

    with tiny.compilations() as later, ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(ask, number) for number in range(8)]:
            done.result()
    assert later == []


def test_a_chat_is_what_the_sampler_draws(asking):
    answer = chat(asking, n=3, logprobs=True, extra_body={"return_token_ids": True})
    completions = expected(PROMPT, 3)
    for choice, drawn in zip(answer.choices, completions, strict=True):
        assert choice.token_ids == drawn.tokens.tolist()
        told = [one.logprob for one in choice.logprobs.content]
        np.testing.assert_allclose(told, drawn.logp, atol=1e-5)
        ended = "stop" if drawn.finished else "length"
        assert choice.finish_reason == ended
    assert len({tuple(one.tokens.tolist()) for one in completions}) > 1
    assert answer.usage.prompt_tokens == len(PROMPT)
    assert answer.usage.completion_tokens == sum(len(c.tokens) for c in completions)


@pytest.mark.parametrize("tools", [[], [ADD]], ids=["text", "tools"])
def test_a_stream_joins_to_the_whole_answer(asking, tools):
    seeds = range(8)
    for seed in seeds:
        whole = chat(asking, seed=seed, tools=tools, logprobs=True)
        stream = chat(
            *(asking,),
            **{"seed": seed, "tools": tools, "logprobs": True, "stream": True},
            stream_options={"include_usage": True},
        )
        pieces = [*stream]
        deltas = [piece.choices[0].delta for piece in pieces[:-1]]
        [choice] = whole.choices
        text = "".join(delta.content or "" for delta in deltas)
        assert text == (choice.message.content or "")
        assert pieces[-2].choices[0].finish_reason == choice.finish_reason
        assert pieces[-1].usage == whole.usage
        calls = [call for delta in deltas for call in delta.tool_calls or ()]
        assert [call.function.arguments for call in calls] == [
            call.function.arguments for call in choice.message.tool_calls or ()
        ]


def test_calls_are_told_apart_from_text_where_tools_are_given(asking):
    answers = [chat(asking, seed=seed, tools=[ADD]) for seed in range(12)]
    called = [a.choices[0] for a in answers if a.choices[0].message.tool_calls]
    assert called
    for choice in called:
        assert choice.finish_reason == "tool_calls"
        [call] = choice.message.tool_calls
        assert call.function.name == "add"
        assert {*json.loads(call.function.arguments)} == {"first", "second"}
    plain = [chat(asking, seed=seed).choices[0].message for seed in range(12)]
    assert not any(message.tool_calls for message in plain)
    assert any("+" in message.content for message in plain)


def test_a_stop_string_ends_an_answer_and_is_not_shown(asking):
    seed = next(
        s
        for s in range(30)
        if "+" in chat(asking, seed=s).choices[0].message.content[1:]
    )
    whole = chat(asking, seed=seed).choices[0].message.content
    cut = chat(asking, seed=seed, stop="+").choices[0]
    assert cut.message.content == whole[: whole.index("+")]
    assert cut.finish_reason == "stop"
    pieces = chat(asking, seed=seed, stop="+", stream=True)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == cut.message.content


def test_completions_take_texts_and_token_ids_in_one_request(asking):
    answer = asking.completions.create(
        **{"model": MODEL, "prompt": ["12=", "7"], "n": 2, "seed": 5},
        **{"max_tokens": 6, "temperature": 0.7, "top_p": 0.9, "logprobs": 1},
        extra_body={"return_token_ids": True, "top_k": 9},
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    drawn = expected(PROMPT, 2, 6, temperature=0.7, top_p=0.9, top_k=9)
    for choice, one in zip(answer.choices, drawn, strict=False):
        assert choice.prompt_token_ids == PROMPT
        assert choice.token_ids == one.tokens.tolist()
        told = choice.logprobs.token_logprobs
        np.testing.assert_allclose(told, one.logp, atol=1e-5)
    assert answer.choices[2].prompt_token_ids == [10]
    same = asking.completions.create(
        model=MODEL, prompt=PROMPT, seed=5, max_tokens=6, temperature=0.7
    )
    stream = asking.completions.create(
        model=MODEL, prompt=PROMPT, seed=5, max_tokens=6, temperature=0.7, stream=True
    )
    assert "".join(piece.choices[0].text for piece in stream) == same.choices[0].text


@pytest.mark.parametrize("scoring", [prompt_logprobs, echoed_logprobs])
def test_a_run_can_be_taught_by_it(address, scoring):
    teacher = ServedTeacher(f"{address}/v1", MODEL, scoring=scoring)
    tokens = np.array([4, 5, 14, 7, 3, 1], np.int32)
    teacher.check(tokens, top_k=3, longest=40)
    assert teacher.encode("12=").ids == tuple(PROMPT)
    scored = ScoredSequence(tokens, np.arange(6) > 0, 0, 0, 0, 0)
    [view] = teacher.score([scored], top_k=3)
    order, segments = np.arange(6)[None], np.zeros((1, 6), np.int32)
    hidden, _ = tiny.MODEL.forward(tiny.params(), tokens[None], order, segments)
    logits = np.asarray(hidden[0] @ tiny.MODEL.unembedding(tiny.params()).T)
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(view.logp[1:], logp[np.arange(5), tokens[1:]], atol=1e-5)
    best = np.sort(logp[:5], axis=1)[:, ::-1][:, :3]
    np.testing.assert_allclose(view.top_logp[1:], best, atol=1e-5)


def test_a_run_can_sample_from_it(address):
    drawing = RolloutServer((address,), MODEL)
    drawing.check([PROMPT], Sampling(8, temperature=0.5, top_k=4), longest=48)


def test_agents_of_ours_can_talk_to_it(address):
    agent = ChatServer(f"{address}/v1", MODEL, sampling={"max_tokens": 4})
    agent.check()
    assert agent.ask(ASKED, ()).completion_tokens <= 4


def raw(address, method, path, body=b"", headers=()):
    """Status and JSON of a request that no client would send."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    found = response.status, json.loads(response.read() or "null"), response.headers
    connection.close()
    return found


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[" * 50_000, 400),
        ("POST", "/v1/completions", b'{"model": "digits"}', 400),
        ("POST", "/v1/completions", b" " * (2**22 + 1), 413),
        ("GET", "/v1/completions", b"", 405),
        ("GET", "/v2", b"", 404),
        ("GET", "/episodes/none", b"", 404),
        ("GET", "/episodes/..%2Fpolicy", b"", 404),
        ("POST", "/episodes/.x/v1/chat/completions", CHAT, 400),
    ],
)
def test_wrong_requests_get_an_error_in_openais_form(
    address, method, path, body, status
):
    found, answer, _ = raw(address, method, path, body)
    assert found == status
    assert {*answer["error"]} == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ({"messages": [{"role": "user", "content": "1" * 47}]}, 400, "context"),
        ({"messages": [{"role": "user", "content": "1" * 40}], "max_tokens": 9}, 400,
         "context"),
        ({"model": "other"}, 404, "model_not_found"),
        ({"tool_choice": "required", "tools": [ADD]}, 400, "None"),
    ],
)  # fmt: skip
def test_the_client_sees_what_is_wrong(asking, options, kind, code):
    with pytest.raises(openai.APIStatusError) as caught:
        chat(asking, **options)
    assert caught.value.status_code == kind
    assert str(caught.value.code).startswith(code)


def test_a_prompt_that_leaves_little_room_gets_a_short_answer(asking):
    messages = [{"role": "user", "content": "1" * 44}]
    answers = [chat(asking, messages, seed=seed) for seed in range(4)]
    assert max(answer.usage.completion_tokens for answer in answers) == 3


def health(address):
    return raw(address, "GET", "/health")[1]


def eventually(check, seconds=20.0):
    ends = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_full_queue_says_when_to_come_back_and_who_leaves_makes_room(address, gate):
    gate.clear()
    patient, brief = client(address), client(address, timeout=1.0)
    with patient, brief, ThreadPoolExecutor(ROOM) as threads:
        waiting = [threads.submit(chat, patient, seed=i) for i in range(ROOM - 4)]
        leaving = [threads.submit(chat, brief, seed=i) for i in range(4)]
        eventually(lambda: health(address)["waited_for"] == ROOM)
        with pytest.raises(openai.RateLimitError) as caught:
            chat(patient)
        assert caught.value.response.headers["retry-after"] == "1"
        for one in leaving:
            with pytest.raises(openai.APITimeoutError):
                one.result()
        gate.set()
        for one in waiting:
            assert one.result().choices[0].finish_reason in ("stop", "length")
    eventually(lambda: health(address)["waited_for"] == 0)


@pytest.mark.parametrize(
    "scored", [{"echo": True, "logprobs": 1}, {"extra_body": {"prompt_logprobs": 1}}]
)
def test_prompts_are_scored_where_their_answers_take_all_the_room(asking, scored):
    found = asking.completions.create(
        model=MODEL, prompt=["12="] * ROOM, max_tokens=1, **scored
    )
    assert len(found.choices) == ROOM


@pytest.mark.parametrize("kind", ["chat", "completions"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_the_work_of_clients_that_leave_is_cancelled(
    address, gate, monkeypatch, kind, stream
):
    jobs = []

    def make(*arguments):
        jobs.append(Job(*arguments))
        return jobs[-1]

    monkeypatch.setattr(service, "Job", make)
    gate.clear()
    prompt = {"messages": ASKED} if kind == "chat" else {"prompt": "12"}
    path = "/v1/chat/completions" if kind == "chat" else "/v1/completions"
    body = json.dumps({"model": MODEL, "stream": stream, "n": 2, **prompt})
    leaving = http.client.HTTPConnection(urlsplit(address).netloc)
    leaving.request("POST", path, body)
    eventually(lambda: health(address)["waited_for"] == 2)
    assert [job.cancelled for job in jobs] == [False]
    leaving.close()
    eventually(lambda: [job.cancelled for job in jobs] == [True])
    gate.set()
    eventually(lambda: health(address)["waited_for"] == 0)


def play(address, name, turns=2):
    """A harness that never heard of training; returns the texts."""
    messages, texts = [*ASKED], []
    with client(f"{address}/episodes/{name}") as asking:
        for _ in range(turns):
            said = chat(asking, messages, tools=[ADD], max_tokens=6, seed=None)
            message = said.choices[0].message
            texts.append(message.content or "")
            messages.append(message.model_dump(exclude_none=True))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "3"}
                for call in message.tool_calls or ()
            ]
            messages.append({"role": "user", "content": "7"})
    return texts


def test_an_episode_is_recorded_token_exactly(address):
    play(address, "a.1")
    _, shown, _ = raw(address, "GET", "/episodes/a.1")
    assert shown["rewards"] is None
    status, closed, _ = raw(
        address,
        "POST",
        "/episodes/a.1/reward",
        b'{"reward": 1, "turn_rewards": [0, 1]}',
    )
    assert (status, closed["turns"]) == (200, shown["turns"])
    assert raw(address, "GET", "/episodes/a.1")[1] == closed
    [trace] = episode_of(closed, Problem("0", "12", ""), 0).traces
    first, second = trace.turns
    exact = [*first.prompt, *first.completion.tokens]
    assert first.prompt.tolist() == PROMPT
    assert second.prompt[: len(exact)].tolist() == exact
    assert (first.reward, second.reward) == (0.0, 1.0)
    again = raw(address, "POST", "/episodes/a.1/v1/chat/completions", CHAT)
    assert again[0] == 409
    assert raw(address, "POST", "/episodes/a.1/reward", b'{"reward": 1}')[0] == 409


def test_a_harness_that_rewrites_what_was_said_begins_anew(address):
    with client(f"{address}/episodes/rewritten") as asking:
        chat(asking, max_tokens=6)
        said = {"role": "assistant", "content": "99999999"}
        messages = [*ASKED, said, {"role": "user", "content": "7"}]
        chat(asking, messages, max_tokens=6)
    first, second = raw(address, "GET", "/episodes/rewritten")[1]["turns"]
    assert second["prompt"] == [*PROMPT, *[12] * 8, 10, 14]
    assert first["tokens"][:8] != [12] * 8


def test_streams_are_recorded_and_episodes_can_be_dropped(address):
    with client(f"{address}/episodes/streamed") as asking:
        [*chat(asking, stream=True, temperature=0.5, extra_body={"top_k": 3})]
    path = "/episodes/streamed"
    [turn] = raw(address, "GET", path)[1]["turns"]
    assert turn["drawn_from"] == {"temperature": 0.5, "top_k": 3, "top_p": 1.0}
    for rewards in ([], [10**400], [float("nan")], [True]):
        body = json.dumps({"rewards": rewards}).encode()
        assert raw(address, "POST", f"{path}/reward", body)[0] == 400
    assert raw(address, "DELETE", path)[0] == 200
    assert raw(address, "GET", path)[0] == raw(address, "DELETE", path)[0] == 404


@pytest.mark.parametrize(
    "body", [b"{", CHAT.replace(b"digits", b"x"), CHAT[:-1] + b', "n": 2}']
)
def test_a_refused_request_opens_no_episode(address, body):
    path = "/episodes/refused"
    assert raw(address, "POST", f"{path}/v1/chat/completions", body)[0] in (400, 404)
    assert raw(address, "GET", path)[0] == 404


def test_one_turn_at_a_time_is_taken_in_an_episode(address):
    with (
        client(f"{address}/episodes/hurried") as asking,
        ThreadPoolExecutor(4) as threads,
    ):
        [*threads.map(lambda seed: chat(asking, seed=seed), range(4))]
    turns = raw(address, "GET", "/episodes/hurried")[1]["turns"]
    assert [turn["prompt"] for turn in turns] == [PROMPT] * 4


@pytest.mark.slow
def test_it_stands_a_crowd_of_clients_that_come_go_and_err(address, gate):
    """A few hundred clients; whoever is answered gets what it would get alone."""
    alone = {}
    with client(address) as asking:
        for seed in range(10):
            alone[seed] = chat(asking, seed=seed).choices[0].message.content

    def visit(number):
        seed, kind = number % 10, number % 7
        try:
            if kind == 0:
                return raw(address, "POST", "/v1/chat/completions", b"{" * number)[0]
            with client(address, timeout=0.02 if kind == 1 else 60.0) as asking:
                if kind == 2:
                    pieces = chat(asking, seed=seed, stream=True)
                    next(iter(pieces))
                    return pieces.close()
                if kind == 3:
                    long = [{"role": "user", "content": "1" * number}]
                    return chat(asking, long, seed=seed).usage.prompt_tokens
                found = chat(asking, seed=seed, n=1 + kind % 3)
                return found.choices[0].message.content == alone[seed]
        except openai.RateLimitError:
            return "full"
        except openai.BadRequestError:
            return 400
        except openai.APITimeoutError:
            return "left"

    gate.clear()
    with ThreadPoolExecutor(48) as threads:
        visits = [threads.submit(visit, number) for number in range(400)]
        eventually(lambda: health(address)["waited_for"] == ROOM)
        gate.set()
        results = [one.result() for one in visits]
    assert False not in results
    assert results.count(True) > 30
    assert "full" in results
    eventually(lambda: health(address)["waited_for"] == 0)
    with client(address) as asking:
        assert chat(asking, seed=3).choices[0].message.content == alone[3]
