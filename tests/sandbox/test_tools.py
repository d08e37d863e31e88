"""Agents run programs as tools, and learn what came of them."""

import asyncio

import pytest

from jaxrl.rollout.chat import Reply, ToolCall
from jaxrl.rollout.tool_loop import ToolLoop
from jaxrl.rollout.tools import answer
from jaxrl.rollout.types import Problem
from jaxrl.sandbox.confined import Sandbox, problem_with_namespaces
from jaxrl.sandbox.limits import Limits, Outcome
from jaxrl.sandbox.tools import KILLED, python_tool, shell_tool, told

needs_namespaces = pytest.mark.skipif(
    problem_with_namespaces() is not None, reason=f"{problem_with_namespaces()}"
)


class Script:
    """Says what it was given, and keeps what it was shown last."""

    def __init__(self, *replies):
        self.replies, self.shown, self.tools = list(replies), [], []

    async def reply(self, messages, tools):
        self.shown, self.tools = list(messages), list(tools)
        return self.replies.pop(0)


@pytest.fixture
def tools():
    sandbox = Sandbox(limits=Limits(seconds=20.0, output=1000))
    return python_tool(sandbox), shell_tool(sandbox)


def play(tools, *calls):
    agent = Script(Reply("", calls), Reply("42"))
    loop = ToolLoop(tools, (lambda problem, text: float(text == problem.answer),))
    outcome = asyncio.run(loop(Problem("x", "6 * 7?", "42"), {"policy": agent}))
    said = [m["content"] for m in agent.shown if m["role"] == "tool"]
    return outcome, said, agent.tools


@needs_namespaces
def test_an_episode_runs_programs(tools):
    outcome, said, declared = play(
        tools,
        ToolCall("python", {"code": "print(6 * 7)"}),
        ToolCall("shell", {"script": "echo no >&2; exit 3"}),
        ToolCall("python", {"code": "x = 1"}),
        ToolCall("shell", {"script": "yes"}),
        ToolCall("python", {"script": "print(1)"}),
    )
    assert outcome.agents["policy"].rewards == (1.0,)
    assert outcome.numbers == {"tool_calls": 5.0, "tool_errors": 1.0}
    assert said[:3] == ["42", "stderr:\nno\n(exit status 3)", "(no output)"]
    assert said[3].endswith(f"y\n... (cut)\n(killed: {KILLED['output']})")
    assert "code is missing" in said[4]
    described = [one["function"] for one in declared]
    assert [one["name"] for one in described] == ["python", "shell"]
    assert all("no network" in one["description"] for one in described)


@needs_namespaces
def test_a_bad_program_leaves_the_host_as_it_is(tools, tmp_path):
    path = tmp_path / "precious"
    path.write_text("of the host")
    outcome, said, _ = play(
        tools,
        ToolCall("python", {"code": f"open({str(path)!r}, 'w')"}),
        ToolCall("shell", {"script": f"rm -r {tmp_path}; echo x > {path}"}),
    )
    assert outcome.numbers["tool_errors"] == 0
    assert "FileNotFoundError" in said[0]
    assert said[1].endswith("(exit status 2)")
    assert path.read_text() == "of the host"


@needs_namespaces
def test_a_call_that_is_given_up_is_an_error():
    tool = shell_tool(Sandbox(), deadline=0.2)
    found = asyncio.run(answer([tool], ToolCall("shell", {"script": "sleep 9"})))
    assert found == ("Error: shell took more than 0.2 s", False)


@pytest.mark.parametrize("failure", KILLED)
def test_a_program_that_was_killed_is_told_why(failure):
    outcome = Outcome(None, "half\n", "", False, False, 1.0, failure)
    assert told(outcome) == f"half\n(killed: {KILLED[failure]})"


def test_a_sandbox_that_fails_says_so():
    with pytest.raises(RuntimeError, match="could not be started: no space"):
        told(Outcome(None, "", "no space", False, False, 0.1, "setup"))
