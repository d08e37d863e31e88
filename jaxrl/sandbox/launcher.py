"""The process that confines itself and then starts a program; its parent may kill it.

It reads one `Task` as JSON from its standard input and writes one report as JSON to a
descriptor: how the program ended, or what could not be set up. Standard library only,
and few modules of it: it is started for every run.
"""

import base64
import contextlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from jaxrl.sandbox import system
from jaxrl.sandbox.filter import install_filter
from jaxrl.sandbox.landlock import landlock_version, restrict_files
from jaxrl.sandbox.root import DEVICES, build_root

USER = 1000
"""Who the program is, inside."""
NOBODY = 65534
"""Who it is outside, if root started it."""
PAUSE = 0.05
"""Seconds between two looks at the memory of all processes."""
NOT_FOUND = 127

Task = Mapping[str, Any]
"""argv, environment, files (base64), readable, limits, and a directory to run in, or
None for namespaces of its own."""


def main(descriptor: int) -> None:
    """Run the task on standard input; report to the descriptor.

    Args:
      descriptor: The writing end of a pipe, inherited.
    """
    os.set_inheritable(descriptor, False)
    # Python's handler would let a program interrupt the first process of its namespace.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    system.prctl(system.SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    task = json.load(sys.stdin)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def report(**found: Any) -> None:
        # A line: after a program that could not be set up, its end is reported too.
        os.write(descriptor, json.dumps(found).encode() + b"\n")

    start = _start_in_namespaces if task["directory"] is None else _start_in_directory
    with _reported(report):
        start(task, report)


def _start_in_namespaces(task: Task, report: Callable[..., None]) -> None:
    """Become the parent of a first process of new namespaces, and wait for it."""
    _unshare_and_map()
    # Again: new credentials cleared it.
    system.prctl(system.SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    with _reported(report):
        system.prctl(system.SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        system.set_hostname("sandbox")
        build_root(task["readable"], disk=task["limits"]["disk"], user=USER)
        _supervise(task, report, "/tmp")
    # The first process ends, and the kernel kills all others.
    os._exit(0)


def _start_in_directory(task: Task, report: Callable[..., None]) -> None:
    """Without namespaces: a filter, Landlock where there is one, and the group."""
    # Its number as the first of the group must not be taken before all are killed.
    _supervise(task, report, task["directory"])
    os.killpg(0, signal.SIGKILL)


def _unshare_and_map() -> None:
    """Enter namespaces in which a user of no rights outside is `USER`.

    Someone outside writes the map, for only they may map more than one user: root needs
    two, to read the directories that only root can before it becomes `USER`.
    """
    mine, theirs = os.pipe()
    helper = os.fork()
    if not helper:
        os.close(theirs)
        os._exit(0 if os.read(mine, 1) and _write_maps(os.getppid()) else 1)
    os.close(mine)
    system.unshare(system.NAMESPACES)
    os.write(theirs, b"x")
    os.close(theirs)
    _, status = os.waitpid(helper, 0)
    if status:
        raise PermissionError("the users of a new namespace can't be mapped")


def _write_maps(process: int) -> bool:
    user, group = os.geteuid(), os.getegid()
    try:
        if user:
            _write(f"/proc/{process}/setgroups", "deny")
        for name, own in (("gid_map", group), ("uid_map", user)):
            both = f"0 {own} 1\n{USER} {NOBODY} 1\n"
            _write(f"/proc/{process}/{name}", f"{USER} {own} 1\n" if user else both)
    except OSError:
        return False
    return True


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _supervise(task: Task, report: Callable[..., None], directory: str) -> None:
    """Start the program and wait until it ends or all together use too much memory."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    program = os.fork()
    if not program:
        with _reported(report):
            _become(task, directory)
        os._exit(NOT_FOUND)
    most = task["limits"]["memory"] if task["directory"] is None else None
    while True:
        signal.sigtimedwait({signal.SIGCHLD}, PAUSE)
        # The first process of a namespace inherits all orphans.
        while ended := _ended_child():
            if ended[0] == program:
                return report(status=os.waitstatus_to_exitcode(ended[1]))
        if most is not None and _memory_of_all() > most:
            return report(failure="memory")


def _ended_child() -> tuple[int, int] | None:
    with contextlib.suppress(ChildProcessError):
        process, status = os.waitpid(-1, os.WNOHANG)
        return (process, status) if process else None
    return None


def _memory_of_all() -> int:
    """Bytes that the processes of this namespace hold and share with no file."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            # It may end meanwhile.
            with contextlib.suppress(OSError), open(f"/proc/{name}/status") as file:
                lines = (line.split() for line in file)
                held = (x[1] for x in lines if x[0] in ("RssAnon:", "RssShmem:"))
                total += sum(map(int, held))
    return total * 1024


def _become(task: Task, directory: str) -> None:
    """Turn into the program: files, rights, limits, filter."""
    if task["directory"] is None and os.geteuid() != USER:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
    # Only a namespace has a count of its own.
    others = 0 if task["directory"] is None else _threads_of_this_user()
    os.chdir(directory)
    for name, content in task["files"].items():
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        with open(name, "xb") as file:
            file.write(base64.b64decode(content))
    system.give_up_privileges()
    if task["directory"] is not None and landlock_version():
        restrict_files(task["readable"], [directory, *DEVICES])
    install_filter(namespaces=task["directory"] is None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    _limit(task["limits"], others)
    try:
        os.execvpe(task["argv"][0], task["argv"], task["environment"])
    except (OSError, ValueError) as error:
        print(f"{task['argv'][0]!r}: {error}", file=sys.stderr, flush=True)
        os._exit(NOT_FOUND)


def _threads_of_this_user() -> int:
    total = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == os.getuid():
                total += len(os.listdir(f"/proc/{name}/task"))
    return total


def _limit(limits: Mapping[str, Any], others: int) -> None:
    cpu, processes = limits["cpu_seconds"], limits["processes"] + others
    for kind, soft, hard in (
        # At the soft limit a signal says why.
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_AS, limits["memory"], limits["memory"]),
        (resource.RLIMIT_FSIZE, limits["disk"], limits["disk"]),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"]),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(kind, (soft, hard))


@contextlib.contextmanager
def _reported(report: Callable[..., None]):
    """Report what can't be set up, instead of going on without it."""
    try:
        yield
    except BaseException:
        report(failure="setup", explanation=traceback.format_exc()[-1000:])
        os._exit(1)
