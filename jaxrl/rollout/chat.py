"""Agents as what speaks: chat messages and tools in, text and calls of tools out."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jaxrl.rollout.types import Message

Tool = Mapping[str, Any]
"""A tool's declaration as chat templates and servers read it: `type` "function" and
`function` with `name`, `description` and `parameters` (JSON schema)."""


@dataclasses.dataclass(frozen=True)
class ToolCall:
    """An agent's wish to use a tool.

    Attributes:
      name: Of the tool, as the agent wrote it.
      arguments: By name; None where the agent wrote no JSON object.
      id: By which a server matches results with calls; empty if there is none.
      fault: Of a call that can't be read, where its form doesn't say enough.
    """

    name: str
    arguments: Mapping[str, Any] | None
    id: str = ""
    fault: str = ""


@dataclasses.dataclass(frozen=True)
class Reply:
    """What an agent says in one turn.

    Attributes:
      text: Without the calls, unless they are written in it.
      tool_calls: In the order in which they are to be carried out.
      prompt_tokens: That the agent read, where they are counted.
      completion_tokens: That it wrote, likewise.
      finished: False where a limit cut it off.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finished: bool = True


class LimitReached(Exception):
    """An agent has no turns left, or no room for another; an episode may end here."""


class ChatAgent(Protocol):
    """Whoever answers: a policy, a model behind a server, a script."""

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Answer a conversation.

        Args:
          messages: The whole of it, as `role` and `content`.
          tools: That may be called; empty where calls are written in the text.

        Raises:
          LimitReached: It can't say anything more in this episode.
        """
        ...


class InTurn:
    """An agent of whom programs may ask several things at once; see `ChatAgent`.

    It answers one after another, as a seat at a policy must.
    """

    def __init__(self, agent: ChatAgent):
        """Keep who answers."""
        self._agent, self._turn = agent, asyncio.Lock()

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """See `ChatAgent`."""
        async with self._turn:
            return await self._agent.reply(messages, tools)


def assistant_message(reply: Reply) -> dict[str, Any]:
    """What the conversation keeps of a reply."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or {}},
            }
            for call in reply.tool_calls
        ]
    return message


def tool_message(call: ToolCall, text: str) -> dict[str, Any]:
    """The result of a call."""
    named = {"tool_call_id": call.id} if call.id else {}
    return {"role": "tool", "name": call.name, "content": text, **named}
