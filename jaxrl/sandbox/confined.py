"""Programs of a model, each confined for itself, several at once."""

import asyncio
import functools
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from jaxrl.errors import UserError
from jaxrl.sandbox.directory import temporary_directory
from jaxrl.sandbox.limits import Limits, Outcome
from jaxrl.sandbox.processes import run_confined

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"),
    *("/etc/alternatives", "/etc/ld.so.cache"),
)
"""What programs need to run, the same on every machine."""
PYTHON = os.path.realpath(sys.executable)
PROBE = """
import os, socket
assert os.getpid() < 10 and os.getuid() == 1000, "there are no namespaces"
assert os.listdir("/tmp") == ["probe"], "files of the host are visible"
try:
    socket.socket(socket.AF_INET)
    raise SystemExit("sockets are not refused")
except PermissionError:
    pass
for _ in range(8):
    try:
        if not os.fork():
            os.read(os.pipe()[0], 1)
    except BlockingIOError:
        break
else:
    raise SystemExit("the number of processes is not limited")
print("confined")
"""

Files = Mapping[str, str | bytes]


class Sandbox:
    """Runs Python, shell scripts and other programs of a model; see README.md here.

    To be shared by tasks. Each event loop has slots of its own: those held in a loop
    that was left, as `Stage.replace` does, never come back.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        concurrency: int = 4,
        readable: Sequence[str] = (),
        accept_weaker: bool = False,
    ):
        """Find out whether this machine can confine.

        Args:
          limits: Of every run; None takes the defaults.
          concurrency: Runs at once in an event loop; others wait.
          readable: Directories and files of this machine that programs may read, beside
            those of the system and of Python. Where root runs this, programs run as
            nobody, and read what everyone may.
          accept_weaker: Run also where the kernel allows no namespaces, with a filter
            of system calls, Landlock where there is one, and limits. The README lists
            what is missing then.

        Raises:
          UserError: If it can't, and nothing weaker was accepted.
        """
        if concurrency < 1:
            raise UserError(f"concurrency is {concurrency}; give at least 1")
        problem = problem_with_namespaces()
        if problem and not accept_weaker:
            raise UserError(
                f"a model's programs can't be confined here: {problem}. Allow user "
                "namespaces (Linux 5.14 or newer; sysctl user.max_user_namespaces, "
                "kernel.apparmor_restrict_unprivileged_userns=0; docker run "
                "--security-opt seccomp=unconfined), or give accept_weaker=True to run "
                "them confined less, on a machine that you can lose"
            )
        self.weaker = problem is not None
        self._limits = limits or Limits()
        self._readable = (*_default_paths(), *map(_checked_path, readable))
        self._concurrency = concurrency
        self._slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    async def run(self, argv: Sequence[str], *, files: Files | None = None) -> Outcome:
        """Run one program in an empty temporary directory, with no input.

        Args:
          argv: The program and its arguments. It is killed with all that it started
            when it ends, when a limit is reached, and when this call is cancelled.
          files: What its directory holds at the start, by relative path.

        Returns:
          How it ended. The directory is gone.
        """
        files = {_checked_name(name): text for name, text in (files or {}).items()}
        async with self._slots_here():
            if not self.weaker:
                return await self._run(argv, files, None)
            with temporary_directory() as directory:
                return await self._run(argv, files, directory)

    async def python(self, code: str, *, files: Files | None = None) -> Outcome:
        """Run a program in this Python, with its standard library alone."""
        argv = [PYTHON, "-I", "-S", "program.py"]
        return await self.run(argv, files={**(files or {}), "program.py": code})

    async def shell(self, script: str, *, files: Files | None = None) -> Outcome:
        """Run a script of the system's `sh`."""
        argv = ["/bin/sh", "script.sh"]
        return await self.run(argv, files={**(files or {}), "script.sh": script})

    def _slots_here(self) -> asyncio.Semaphore:
        """Those of the running event loop; closed ones are forgotten."""
        for loop in [*self._slots]:
            if loop.is_closed():
                self._slots.pop(loop, None)
        made = asyncio.Semaphore(self._concurrency)
        return self._slots.setdefault(asyncio.get_running_loop(), made)

    async def _run(
        self, argv: Sequence[str], files: Files, directory: str | None
    ) -> Outcome:
        return await run_confined(
            argv,
            limits=self._limits,
            readable=self._readable,
            files=files,
            directory=directory,
        )


@functools.cache
def problem_with_namespaces() -> str | None:
    """Why this machine can't confine in namespaces, or None; tried out once."""
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces"
    trial = run_confined(
        [PYTHON, "-I", "-S", "probe"],
        limits=Limits(processes=4, seconds=60.0),
        readable=_default_paths(),
        files={"probe": PROBE},
        directory=None,
    )
    # There may be an event loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        outcome = thread.submit(asyncio.run, trial).result()
    if outcome.stdout == "confined\n":
        return None
    lines = outcome.stderr.strip().splitlines()
    return lines[-1] if lines else f"a trial ended with {outcome.failure}"


def _default_paths() -> tuple[str, ...]:
    paths = (*SYSTEM, str(Path(PYTHON).parents[1]))
    return tuple(path for path in paths if os.path.exists(path))


def _checked_path(path: str) -> str:
    found = os.path.realpath(path)
    if not os.path.exists(found) or found == "/":
        raise UserError(
            f"readable has {path!r}; give directories or files that exist, without /"
        )
    mode = os.stat(found).st_mode
    needed = 0o005 if stat.S_ISDIR(mode) else 0o004
    if os.geteuid() == 0 and mode & needed != needed:
        raise UserError(
            f"readable has {path!r}, which may not be read by everyone; root starts "
            "programs as nobody: chmod -R o+rX it"
        )
    return found


def _checked_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UserError(f"files has {name!r}; give relative paths without '..'")
    return name
