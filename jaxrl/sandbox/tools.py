"""Programs of agents as tools, run in a sandbox."""

from jaxrl.rollout.tools import FunctionTool, function_tool
from jaxrl.sandbox.confined import Sandbox
from jaxrl.sandbox.limits import Outcome

KILLED = {
    "timeout": "it took too long",
    "cpu": "it used too much processor time",
    "memory": "it used too much memory",
    "output": "it wrote more than is kept",
    "killed": "it ended what watches over it",
}


def python_tool(sandbox: Sandbox, *, deadline: float = 60.0) -> FunctionTool:
    """A tool that runs Python.

    Args:
      sandbox: Runs it; `Limits.output` also bounds what an agent is shown.
      deadline: Seconds for a call, with its wait for others.
    """

    async def python(code: str) -> str:
        """Run a Python program and see what it prints.

        It has the standard library, an empty directory of its own and no network, and
        nothing is left of it when it ends.

        Args:
          code: The whole program.
        """
        return told(await sandbox.python(code))

    return function_tool(python, deadline=deadline)


def shell_tool(sandbox: Sandbox, *, deadline: float = 60.0) -> FunctionTool:
    """A tool that runs scripts of the shell.

    Args:
      sandbox: Runs them; `Limits.output` also bounds what an agent is shown.
      deadline: Seconds for a call, with its wait for others.
    """

    async def shell(script: str) -> str:
        """Run a script of sh and see what it prints.

        It has the system's commands, an empty directory of its own and no network, and
        nothing is left of it when it ends.

        Args:
          script: The whole script.
        """
        return told(await sandbox.shell(script))

    return function_tool(shell, deadline=deadline)


def told(outcome: Outcome) -> str:
    r"""What an agent is told of a run.

    >>> told(Outcome(1, "a\n", "no\n", False, True, 0.1, None))
    'a\nstderr:\nno\n... (cut)\n(exit status 1)'

    Args:
      outcome: Of the run.

    Raises:
      RuntimeError: If it could not be started, for no fault of the program.
    """
    if outcome.failure == "setup":
        raise RuntimeError(f"the program could not be started: {outcome.stderr}")
    parts = [_shown(outcome.stdout, outcome.stdout_cut)]
    if outcome.stderr:
        parts += ["stderr:", _shown(outcome.stderr, outcome.stderr_cut)]
    if outcome.failure is not None:
        parts.append(f"(killed: {KILLED[outcome.failure]})")
    elif outcome.status:
        parts.append(f"(exit status {outcome.status})")
    return "\n".join(filter(None, parts)) or "(no output)"


def _shown(text: str, cut: bool) -> str:
    return text.removesuffix("\n") + "\n... (cut)" * cut
