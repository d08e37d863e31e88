"""Agents behind an API, asked by the client that we have for such servers."""

import asyncio
import json
import urllib.parse
import urllib.request

import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.chat import LimitReached, Reply, ToolCall
from jaxrl.rollout.chat_server import ChatServer, RefusedError
from jaxrl.rollout.offered import offered
from jaxrl.rollout.stage import in_thread

ASKED = [{"role": "user", "content": "Hello?"}]
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Look.", "parameters": {}},
}


class Answers:
    def __init__(self, found):
        self.found, self.asked = found, []

    async def reply(self, messages, tools):
        self.asked.append((messages, tools))
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def exchange(found, model="policy"):
    """What a client gets, what the agent was asked, and the error that is kept."""
    agent = Answers(found)

    async def run():
        async with offered({"policy": agent}) as offer:
            client = ChatServer(offer.url, model, attempts=1, deadline=5.0)
            try:
                found = await in_thread(client.ask, ASKED, [TOOL])
            except (RefusedError, UserError) as error:
                found = error
            return found, offer.error

    return (*asyncio.run(run()), agent.asked)


def test_a_client_gets_what_the_agent_says():
    said = Reply("Hello.", (ToolCall("look", {"at": 1}, "x"),), 3, 2)
    reply, error, asked = exchange(said)
    assert reply == said
    assert error is None
    assert asked == [(ASKED, [TOOL])]


def test_requests_to_an_agent_are_answered_one_after_another():
    class Alone:
        busy = False

        async def reply(self, messages, tools):
            assert not self.busy
            self.busy = True
            await asyncio.sleep(0.01)
            self.busy = False
            return Reply("Hello.")

    async def run():
        async with offered({"policy": Alone()}) as offer:
            client = ChatServer(offer.url, "policy", attempts=1, deadline=5.0)
            asked = (in_thread(client.ask, ASKED, ()) for _ in range(3))
            return await asyncio.gather(*asked)

    assert [reply.text for reply in asyncio.run(run())] == ["Hello."] * 3


@pytest.mark.parametrize("waiting", [1, 2])
def test_a_client_that_hangs_up_is_not_answered(waiting):
    class Ponders:
        begun, withdrawn = 0, 0

        async def reply(self, messages, tools):
            self.begun += 1
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.withdrawn += 1
                raise

    async def until(holds):
        while not holds():
            await asyncio.sleep(0.001)

    async def run(agent):
        async with asyncio.timeout(5), offered({"policy": agent}) as offer:
            url = urllib.parse.urlsplit(offer.url)
            body = json.dumps({"model": "policy", "messages": ASKED}).encode()
            head = f"POST {url.path}/chat/completions HTTP/1.1\r\n"
            sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            clients = []
            for _ in range(waiting):
                _, writer = await asyncio.open_connection(url.hostname, url.port)
                writer.write(sent)
                clients.append(writer)
            await until(lambda: agent.begun)
            for client in reversed(clients):
                client.close()
                await client.wait_closed()
                await asyncio.sleep(0.05)
            await until(lambda: agent.withdrawn)
            assert offer.error is None

    asyncio.run(run(agent := Ponders()))
    assert agent.begun == agent.withdrawn == 1


def test_calls_get_an_id_where_they_have_none():
    [call] = exchange(Reply("", (ToolCall("look", {}),)))[0].tool_calls
    assert call.id.startswith("call_")


@pytest.mark.parametrize(
    "said",
    [Reply("cut", finished=False), Reply("", (ToolCall("look", None, "x"),))],
    ids=["cut off", "no arguments"],
)
def test_what_went_wrong_reaches_the_client(said):
    assert exchange(said)[0] == said


@pytest.mark.parametrize(
    ("raised", "told"),
    [(LimitReached("no turns"), "400"), (ValueError("broken"), "500")],
)
def test_an_agent_that_fails_is_refused_and_remembered(raised, told):
    refused, error, _ = exchange(raised)
    assert told in f"{refused}"
    assert error is raised


def test_other_models_are_refused():
    refused, error, asked = exchange(Reply("Hello."), model="gpt")
    assert "gpt" in f"{refused}"
    assert error is None
    assert asked == []


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("{url}/chat/completions", {"stream": True}, 400),
        ("{url}/chat/completions", {"messages": None}, 400),
        ("{root}/v1/chat/completions", {}, 404),
    ],
)
def test_requests_that_are_not_served_say_why(path, fields, status):
    def post(url):
        body = json.dumps({"model": "policy", "messages": ASKED, **fields}).encode()
        try:
            return urllib.request.urlopen(url, body, timeout=5).status
        except urllib.error.HTTPError as error:
            return error.code

    async def run():
        async with offered({"policy": Answers(Reply("Hello."))}) as offer:
            root = offer.url.rsplit("/", 2)[0]
            return await in_thread(post, path.format(url=offer.url, root=root))

    assert asyncio.run(run()) == status
