"""Declarations of the tools, and the check of a call against them."""

from collections.abc import Mapping
from typing import Any

from jaxrl.rollout import tools as checks
from jaxrl.rollout.chat import Tool, ToolCall

TEXT: Mapping[str, Any] = {"type": "string"}
INTEGER: Mapping[str, Any] = {"type": "integer"}
ANYTHING: Mapping[str, Any] = {}


def tool(
    name: str,
    description: str,
    required: Mapping[str, Mapping[str, Any]] | None = None,
    optional: Mapping[str, Mapping[str, Any]] | None = None,
) -> Tool:
    """Declare a tool.

    Args:
      name: By which it is called.
      description: What it does, for the agent.
      required: JSON schema of each argument that must be given.
      optional: Likewise of those that may be left out.
    """
    required = required or {}
    parameters = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": [*required],
    }
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def objection(call: ToolCall, tools: Mapping[str, Tool]) -> Any:
    """The result of a call that can't be carried out; None if it can.

    Args:
      call: What the agent wrote.
      tools: By name.
    """
    wrong = checks.objection(call, tools)
    if wrong is None:
        return None
    return failed("bad_arguments" if call.name in tools else "unknown_tool", wrong)


def failed(error: str, message: str) -> Any:
    """The result of a call that has no effect."""
    return {"success": False, "error": error, "message": message}


def done(message: str) -> Any:
    """The result of a call that worked and returns nothing."""
    return {"success": True, "message": message}


WAIT = tool("wait", "End your turn in this round.")
SUBMIT = tool(
    "submit_result",
    "Submit your final answer. You can do so once, and take no part afterwards.",
    {"answer": ANYTHING},
)
COMMON = (WAIT, SUBMIT)
"""Tools of every protocol; they end an agent's turn."""
