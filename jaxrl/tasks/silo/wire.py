"""How calls of tools and their results are written: as text, or as chat APIs do."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jaxrl.rollout.chat import Reply, Tool, ToolCall
from jaxrl.rollout.types import Message

Done = tuple[ToolCall, Any]
"""A call and its result, JSON."""

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_NAME = re.compile(r"<tool>(.*?)</tool>", re.DOTALL)
_PARAMETERS = re.compile(r"<parameters>(.*)</parameters>", re.DOTALL)
_ARGUMENT = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)
_RESULT = re.compile(
    r"<tool_result>\s*<tool>.*?</tool>\s*<result>(.*?)</result>", re.DOTALL
)


class Wire(Protocol):
    """A way to write calls and results."""

    def declared(self, tools: Sequence[Tool]) -> Sequence[Tool]:
        """Tools to hand to the agent beside the messages."""
        ...

    def explained(self, tools: Sequence[Tool]) -> str:
        """What the system message says about tools and how to call them."""
        ...

    def calls(self, reply: Reply, tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
        """The calls in a reply."""
        ...

    def said(self, reply: Reply, calls: Sequence[ToolCall]) -> Message:
        """A reply and the calls in it as a message of the conversation."""
        ...

    def shown(self, done: Sequence[Done]) -> list[Message]:
        """Results as messages."""
        ...

    def spoken(self, calls: Sequence[ToolCall]) -> Reply:
        """A reply that consists of calls."""
        ...

    def read(self, messages: Sequence[Message]) -> list[Any]:
        """The results that messages show, in order."""
        ...


class NativeWire:
    """Calls and results in their own fields, as in chat APIs."""

    def declared(self, tools: Sequence[Tool]) -> Sequence[Tool]:
        """See `Wire`."""
        return tools

    def explained(self, tools: Sequence[Tool]) -> str:
        """See `Wire`."""
        del tools
        return "Act by calling tools; text outside of calls reaches nobody."

    def calls(self, reply: Reply, tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
        """See `Wire`."""
        del tools
        return reply.tool_calls

    def said(self, reply: Reply, calls: Sequence[ToolCall]) -> Message:
        """See `Wire`."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": json.dumps(call.arguments or {}),
                    },
                }
                for call in calls
            ]
        return message

    def shown(self, done: Sequence[Done]) -> list[Message]:
        """See `Wire`."""
        return [
            {"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)}
            for call, result in done
        ]

    def spoken(self, calls: Sequence[ToolCall]) -> Reply:
        """See `Wire`."""
        # Tuples and integer keys don't survive a server.
        return Reply("", tuple(ToolCall(c.name, _as_json(c.arguments)) for c in calls))

    def read(self, messages: Sequence[Message]) -> list[Any]:
        """See `Wire`."""
        return [json.loads(m["content"]) for m in messages if m["role"] == "tool"]


class TextWire:
    """Calls and results as elements in the text, as in the release."""

    def declared(self, tools: Sequence[Tool]) -> Sequence[Tool]:
        """See `Wire`."""
        del tools
        return ()

    def explained(self, tools: Sequence[Tool]) -> str:
        """See `Wire`."""
        listed = "\n".join(map(_signature, tools))
        return (
            "Act by calling tools; text outside of calls reaches nobody. A call is "
            "written like this, with one element for each argument:\n"
            "<tool_call><tool>NAME</tool><parameters><ARGUMENT>VALUE</ARGUMENT>"
            f"</parameters></tool_call>\nThe tools:\n{listed}"
        )

    def calls(self, reply: Reply, tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
        """See `Wire`."""
        types = {t["function"]["name"]: _types(t) for t in tools}
        found = []
        for block in _CALL.findall(reply.text):
            name = _NAME.search(block)
            inside = _PARAMETERS.search(block)
            written = _ARGUMENT.findall(inside[1]) if inside else []
            tool = name[1].strip() if name else ""
            arguments = {
                key: _value(text, types.get(tool, {}).get(key)) for key, text in written
            }
            found.append(ToolCall(tool, arguments))
        return tuple(found)

    def said(self, reply: Reply, calls: Sequence[ToolCall]) -> Message:
        """See `Wire`."""
        del calls
        return {"role": "assistant", "content": reply.text}

    def shown(self, done: Sequence[Done]) -> list[Message]:
        """See `Wire`."""
        parts = [
            f"<tool_result><tool>{call.name}</tool><result>"
            # A message that a result quotes must not end it.
            + json.dumps(result).replace("</", "<\\/")
            + "</result></tool_result>"
            for call, result in done
        ]
        return [{"role": "user", "content": "\n\n".join(parts)}] if parts else []

    def spoken(self, calls: Sequence[ToolCall]) -> Reply:
        """See `Wire`."""
        return Reply("\n".join(map(_written, calls)))

    def read(self, messages: Sequence[Message]) -> list[Any]:
        """See `Wire`."""
        asked = (m["content"] for m in messages if m["role"] == "user")
        return [json.loads(text) for c in asked for text in _RESULT.findall(c)]


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _written(call: ToolCall) -> str:
    arguments = "".join(
        f"<{key}>{value if isinstance(value, str) else json.dumps(value)}</{key}>"
        for key, value in (call.arguments or {}).items()
    )
    return (
        f"<tool_call><tool>{call.name}</tool><parameters>{arguments}</parameters>"
        "</tool_call>"
    )


def _types(tool: Tool) -> Mapping[str, Any]:
    """JSON type of each argument; None where anything goes."""
    properties = tool["function"]["parameters"]["properties"]
    return {name: schema.get("type") for name, schema in properties.items()}


def _signature(tool: Tool) -> str:
    function = tool["function"]
    kinds = _types(tool)
    arguments = ", ".join(f"{name}: {kind or 'any'}" for name, kind in kinds.items())
    return f"- {function['name']}({arguments}): {function['description']}"


def _value(text: str, kind: str | None) -> Any:
    """An argument by its type; what is no JSON stays a text, for the scorer to read."""
    text = text.strip()
    if kind == "string":
        return text
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    return text
