"""A chat agent on a loopback server."""

import asyncio
import threading
import time

import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.chat import Reply, ToolCall
from jaxrl.rollout.chat_server import ChatServer, RefusedError, ServedAgent
from tests.rollout.chat_double import MODEL, chatting, said

MESSAGES = ({"role": "user", "content": "hello"},)
TOOLS = ({"type": "function", "function": {"name": "wait"}},)
KEY, VARIABLE = "sk-secret-0123456789", "JAXRL_TEST_CHAT_KEY"


def server_of(chat, **options):
    return ChatServer(chat.url, MODEL, **({"wait": 0.01} | options))


def always(*answer):
    return lambda body, number: answer


def test_a_reply_has_text_calls_and_tokens():
    answer = said("hm", ("c1", "send", '{"to": 3}'), ("c2", "wait", ""), usage=(5, 7))
    with chatting(always(*answer)) as chat:
        reply = server_of(chat, sampling={"temperature": 0.5}).ask(MESSAGES, TOOLS)
        path, _, body = chat.requests[0]
    calls = (ToolCall("send", {"to": 3}, "c1"), ToolCall("wait", {}, "c2"))
    assert reply == Reply("hm", calls, 5, 7)
    assert path == "/v1/chat/completions"
    assert body == {
        "model": MODEL,
        "messages": [*MESSAGES],
        "tools": [*TOOLS],
        "temperature": 0.5,
        "stream": False,
    }


@pytest.mark.parametrize("arguments", ["{broken", "[1]", "3", "[" * 100_000])
def test_arguments_that_are_no_object_are_the_agents_mistake(arguments):
    with chatting(always(*said(None, ("c1", "send", arguments)))) as chat:
        reply = server_of(chat).ask(MESSAGES, ())
        assert "tools" not in chat.requests[0][2]
    assert reply == Reply("", (ToolCall("send", None, "c1"),))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_asked_again(status):
    def answer(body, number):
        return (status, {"error": "busy"}) if number < 2 else said("there")

    with chatting(answer) as chat:
        assert server_of(chat).ask(MESSAGES, ()).text == "there"
        assert len(chat.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        (400, {"error": "context length exceeded"}),
        (200, {"choices": []}),
        (200, {"choices": [{"message": {"tool_calls": [{"id": "x"}]}}]}),
    ],
)
def test_a_refusal_concerns_one_conversation(answer):
    with chatting(always(*answer)) as chat, pytest.raises(RefusedError):
        server_of(chat).ask(MESSAGES, ())


@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_is_of_no_use_is_the_users_to_mend(status):
    with (
        chatting(always(status, {"error": "no"})) as chat,
        pytest.raises(UserError, match=rf"server\.url is .*HTTP {status}"),
    ):
        server_of(chat, attempts=2).ask(MESSAGES, ())


def test_the_key_is_sent_and_never_shown(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    with chatting(always(400, {"error": f"bad key {KEY}"})) as chat:
        with pytest.raises(RefusedError) as caught:
            server_of(chat, api_key_env=VARIABLE).ask(MESSAGES, ())
        assert chat.requests[0][1]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)


def test_a_model_that_is_not_served_is_said_at_once():
    with chatting(always(*said("x"))) as chat:
        server_of(chat).check()
        with pytest.raises(UserError, match=r"server\.model is 'other'.*parrot"):
            ChatServer(chat.url, "other").check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, r"server\.url"),
        ({"url": "http://user:password@host/v1"}, r"server\.url"),
        ({"concurrency": 0}, r"server\.concurrency is 0"),
        ({"deadline": 0.0}, r"server\.deadline is 0"),
    ],
)
def test_what_cant_work_is_refused(options, message):
    with pytest.raises(UserError, match=message) as caught:
        ChatServer(**{"url": "http://host/v1", "model": MODEL, **options})
    assert "password@" not in str(caught.value)


def test_agents_wait_at_the_same_time():
    meeting = threading.Barrier(2, timeout=10)

    def answer(body, number):
        meeting.wait()
        return said("x")

    async def both(agent):
        replies = (agent.reply(MESSAGES, ()) for _ in range(2))
        return await asyncio.gather(*replies)

    with chatting(answer) as chat:
        replies = asyncio.run(both(ServedAgent(server_of(chat))))
    assert [reply.text for reply in replies] == ["x", "x"]


def test_no_more_requests_than_allowed_are_on_their_way():
    counting, busy, most = threading.Lock(), 0, []

    def answer(body, number):
        nonlocal busy
        with counting:
            busy += 1
            most.append(busy)
        time.sleep(0.02)
        with counting:
            busy -= 1
        return said("x")

    async def all_of_them(agent):
        await asyncio.gather(*(agent.reply(MESSAGES, ()) for _ in range(6)))

    with chatting(answer) as chat:
        asyncio.run(all_of_them(ServedAgent(server_of(chat, concurrency=2))))
    assert len(most) == 6
    assert max(most) == 2
