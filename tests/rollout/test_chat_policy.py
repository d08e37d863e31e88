"""A policy as a chat agent, with a template of our own."""

import asyncio

import numpy as np
import pytest

from jaxrl.rollout.chat import ToolCall, assistant_message
from jaxrl.rollout.chat_policy import ChatPolicy
from jaxrl.rollout.dialogue import Language
from jaxrl.rollout.tool_calls import llama
from jaxrl.rollout.types import Completion

TOOL = {"type": "function", "function": {"name": "Ada", "parameters": {}}}
WRITTEN = '{"name": "Ada", "parameters": {}}'


def template(messages, tools, begin_reply):
    return "".join(f"{m['content']};" for m in messages)[: None if begin_reply else -1]


class Says:
    def __init__(self, text):
        self.tokens = np.array([ord(c) for c in text], np.int32)

    async def act(self, prompt, turn):
        return Completion(self.tokens, np.zeros(len(self.tokens)), 0, False)


def policy(text):
    spoken = Language(
        template,
        lambda text: [ord(c) for c in text],
        lambda tokens: "".join(map(chr, tokens)),
        (),
        llama,
    )
    return ChatPolicy(
        Says(text), spoken, max_prompt_tokens=99, max_turns=3, deadline=5.0
    )


@pytest.mark.parametrize("edited", [0, 1])
def test_messages_that_are_edited_in_place_are_read_anew(edited):
    made = policy("yes")
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": "1"}]

    async def play():
        reply = await made.reply(messages, ())
        messages[edited]["content"] = "new"
        messages.extend([assistant_message(reply), {"role": "user", "content": "2"}])
        await made.reply(messages, ())

    asyncio.run(play())
    read = "".join(map(chr, made.turns[1].prompt))
    assert read == template(messages, (), True)


@pytest.mark.parametrize(
    ("tools", "text", "calls"),
    [([TOOL], "", (ToolCall("Ada", {}),)), ([], WRITTEN, ())],
)
def test_calls_are_read_where_tools_are_offered(tools, text, calls):
    asked = [{"role": "user", "content": "Who?"}]
    reply = asyncio.run(policy(WRITTEN).reply(asked, tools))
    assert (reply.text, reply.tool_calls) == (text, calls)
