"""Tools from typed Python functions, and what an agent is told about its calls."""

import asyncio
import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxrl.errors import UserError
from jaxrl.rollout.chat import Tool, ToolCall
from jaxrl.rollout.stage import in_thread

SHOWN = 300
"""Characters of a tool's error that an agent is shown."""
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


@dataclasses.dataclass(frozen=True)
class FunctionTool:
    """A function that agents may call.

    Attributes:
      call: Async, or an ordinary function, which runs in a thread of its own. At its
        deadline that thread is left; what must be killed belongs into a `RewardPool`
        or a sandbox, called from an async function.
      declaration: Name, description and JSON schema of the arguments.
      deadline: Seconds for a call.
    """

    call: Callable[..., Any]
    declaration: Tool
    deadline: float

    @property
    def name(self) -> str:
        """By which it is called."""
        return self.declaration["function"]["name"]


class Answer(NamedTuple):
    """What an agent is told about a call.

    Attributes:
      text: The result, or what was wrong.
      valid: Whether the tool was run and returned.
    """

    text: str
    valid: bool


def function_tool(call: Callable[..., Any], *, deadline: float = 10.0) -> FunctionTool:
    """Declare a function as a tool.

    Args:
      call: With types, and a docstring that describes it and each argument, as this
        one does; it returns a text, or what can be written as JSON.
      deadline: Seconds for a call.

    Raises:
      UserError: If types or descriptions are missing.
    """
    # Importing it takes seconds, and reward workers import this module too.
    from transformers.utils.chat_template_utils import (
        DocstringParsingException,
        TypeHintParsingException,
        get_json_schema,
    )

    try:
        found = get_json_schema(call)["function"]
    except (DocstringParsingException, TypeHintParsingException) as error:
        raise UserError(
            f"tool {call.__name__}: {error}; give every argument a type, and describe "
            "it under Args: in the docstring"
        ) from None
    wanted = {name: found[name] for name in ("name", "description", "parameters")}
    return FunctionTool(call, {"type": "function", "function": wanted}, deadline)


async def answer(tools: Sequence[FunctionTool], call: ToolCall) -> Answer:
    """Carry out a call, or say why not.

    Args:
      tools: That the agent may call.
      call: What it wrote.
    """
    known = {tool.name: tool for tool in tools}
    wrong = objection(call, {name: tool.declaration for name, tool in known.items()})
    if wrong is not None or call.arguments is None:
        return Answer(f"Error: {wrong}", False)
    tool = known[call.name]
    try:
        async with asyncio.timeout(tool.deadline):
            if inspect.iscoroutinefunction(tool.call):
                result = await tool.call(**call.arguments)
            else:
                result = await in_thread(_with(tool.call, call.arguments))
    except TimeoutError:
        return Answer(f"Error: {call.name} took more than {tool.deadline:g} s", False)
    except Exception as error:
        text = f"Error: {type(error).__name__}: {error}"
        return Answer(text[:SHOWN], False)
    try:
        return Answer(result if isinstance(result, str) else json.dumps(result), True)
    except (TypeError, ValueError):
        return Answer(str(result), True)


def objection(call: ToolCall, tools: Mapping[str, Tool]) -> str | None:
    """What is wrong with a call; None if nothing is.

    Args:
      call: What the agent wrote.
      tools: Declarations by name.
    """
    if not call.name:
        return call.fault or (
            "the call can't be read; write a JSON object with the name of a tool and "
            "its arguments"
        )
    if call.name not in tools:
        return f"there is no tool {call.name!r}, only {', '.join(tools) or 'none'}"
    if call.arguments is None:
        return f"the arguments of {call.name} are not a JSON object"
    schema = tools[call.name]["function"]["parameters"]
    known, needed = schema.get("properties", {}), schema.get("required", ())
    wrong = [f"{name} is missing" for name in needed if name not in call.arguments]
    for name, value in call.arguments.items():
        if name not in known:
            wrong.append(f"{name} is none of {', '.join(known) or 'no arguments'}")
        elif not fits(value, known[name]):
            wrong.append(f"{name} must be {_wanted(known[name])}")
    return f"{call.name}: {'; '.join(wrong)}" if wrong else None


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value has the type that a function's schema asks for.

    >>> fits(3, {"type": "integer"}), fits(True, {"type": "integer"})
    (True, False)

    Args:
      value: To be checked.
      schema: Of types, arrays of them, alternatives and enumerations.
    """
    if value is None and schema.get("nullable"):
        return True
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = schema.get("type", [*_TYPES])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is(value, kind) for kind in kinds):
        return False
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, Mapping):
        return all(fits(item, items) for item in value)
    return True


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, object))


def _wanted(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(repr, schema['enum']))}"
    return f"of type {schema.get('type', schema.get('anyOf'))}"


def _with(call: Callable[..., Any], arguments: Mapping[str, Any]) -> Callable[[], Any]:
    return lambda: call(**arguments)
