"""Calls of tools in what a model wrote: the formats of Hermes, Qwen and Llama."""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxrl.rollout.chat import ToolCall

_HERMES = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_PYTHON_TAG = "<|python_tag|>"
ONE_CALL = "write one call in a reply, and the next once it is answered"
"""What an agent is told that wrote several where its template writes one."""


class Parsed(NamedTuple):
    """A turn taken apart.

    Attributes:
      text: What is left without the calls.
      calls: In order; one that can't be read has no name, or no arguments.
    """

    text: str
    calls: tuple[ToolCall, ...]


Parser = Callable[[str], Parsed]
"""From the text of a turn, special tokens included but for the last, to its calls."""


def hermes(text: str) -> Parsed:
    """Read `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, as Qwen writes.

    A call that the end of the turn cuts off is read as far as it goes.

    >>> hermes('Hm. <tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>')
    Parsed(text='Hm.', calls=(ToolCall(name='f', arguments={'x': 1}, id='', fault=''),))

    Args:
      text: Of a turn.
    """
    calls = tuple(_call(_json(written)) for written in _HERMES.findall(text))
    return Parsed(_HERMES.sub("", text).strip() if calls else text, calls)


def llama(text: str) -> Parsed:
    """Read `{"name": ..., "parameters": {...}}` that is all of a turn, as Llama writes.

    Behind `<|python_tag|>` there is always a call. Several, with semicolons between,
    are one that can't be read: Llama's templates write no turn with more than one.

    >>> llama('{"name": "f", "parameters": {}}')
    Parsed(text='', calls=(ToolCall(name='f', arguments={}, id='', fault=''),))

    Args:
      text: Of a turn.
    """
    before, tag, behind = text.partition(_PYTHON_TAG)
    found = _objects(behind if tag else before)
    named = bool(found) and all(isinstance(v, dict) and "name" in v for v in found)
    if not (named or tag):
        return Parsed(text, ())
    fault = ONE_CALL if named and len(found) > 1 else ""
    readable = named and not fault
    call = _call(found[0]) if readable else ToolCall("", None, fault=fault)
    return Parsed(before.strip() if tag else "", (call,))


def no_calls(text: str) -> Parsed:
    """Take all of a turn as text, where environments read it themselves.

    Args:
      text: Of a turn.
    """
    return Parsed(text, ())


def _objects(text: str) -> list[Any]:
    """JSON values one after another, with semicolons between; none if there is more."""
    decoder, values, at = json.JSONDecoder(), [], 0
    text = text.strip()
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            values.append(value)
            at += len(text[at:]) - len(text[at:].lstrip("; \n\t"))
    except (ValueError, RecursionError):
        return []
    return values


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _call(written: Any) -> ToolCall:
    match written:
        case {"name": str(name), "arguments": {**arguments}}:
            return ToolCall(name, arguments)
        case {"name": str(name), "parameters": {**arguments}}:
            return ToolCall(name, arguments)
        case {"name": str(name)}:
            return ToolCall(name, None)
    return ToolCall("", None)
