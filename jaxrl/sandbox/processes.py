"""One run of the launcher, seen from its parent: start, read with limits, kill."""

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jaxrl
from jaxrl.sandbox.limits import Limits, Outcome

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from jaxrl.sandbox.launcher import main; main(int(sys.argv[2]))"
)
LIBRARY = str(Path(jaxrl.__file__).parents[1])
CHUNK = 2**16


async def run_confined(
    argv: Sequence[str],
    *,
    limits: Limits,
    readable: Sequence[str],
    files: Mapping[str, str | bytes],
    directory: str | None,
) -> Outcome:
    """Run a program once; see `launcher`.

    Args:
      argv: The program and its arguments.
      limits: What it may use.
      readable: Absolute paths that it may read.
      files: What its directory holds at the start.
      directory: Where it runs without namespaces; None gives it its own.

    Returns:
      How it ended, when all that it started has been killed.
    """
    home = directory or "/tmp"
    task = {
        "argv": list(argv),
        "environment": {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": home,
            "TMPDIR": home,
            "LANG": "C.UTF-8",
        },
        "files": {name: _encoded(content) for name, content in files.items()},
        "readable": list(readable),
        "limits": dataclasses.asdict(limits),
        "directory": directory,
    }
    start = time.monotonic()
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as reports:
        try:
            process = await _launch(write_end)
        finally:
            os.close(write_end)
        written = json.dumps(task).encode()
        exposed = directory is not None
        late, out, err = await _attended(process, written, limits, exposed)
        # Whoever held the other end has been killed.
        report = json.loads(reports.readline() or b"{}")
    if report.get("failure") == "setup":
        err = (report["explanation"].encode(), False)
    return Outcome(
        status=report.get("status"),
        stdout=out[0].decode(errors="replace"),
        stderr=err[0].decode(errors="replace"),
        stdout_cut=out[1],
        stderr_cut=err[1],
        seconds=time.monotonic() - start,
        failure=_failure(report, late, out[1] or err[1], exposed),
    )


def _failure(
    report: Mapping[str, Any], late: bool, cut: bool, exposed: bool
) -> str | None:
    if cut:
        return "output"
    if late:
        return "timeout"
    if report.get("status") == -signal.SIGXCPU:
        return "cpu"
    if report:
        return report.get("failure")
    # The launcher was killed: by someone outside, or by a program that can reach it.
    return "killed" if exposed else "setup"


async def _launch(descriptor: int) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", BOOT, LIBRARY, str(descriptor)),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={},
        pass_fds=(descriptor,),
        start_new_session=True,
    )


async def _attended(
    process: asyncio.subprocess.Process, task: bytes, limits: Limits, exposed: bool
) -> tuple[bool, tuple[bytes, bool], tuple[bytes, bool]]:
    """Feed the task and read until all is over; true if time ran out first.

    `exposed`: the program may have killed its launcher, and gone on without it.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None

    async def read(stream: asyncio.StreamReader) -> tuple[bytes, bool]:
        kept, cut = b"", False
        # To the end also when it was cut, or the pipe would stay open.
        while chunk := await stream.read(CHUNK):
            if len(kept) + len(chunk) > limits.output:
                cut = True
                _kill(process, exposed)
            kept = (kept + chunk)[: limits.output]
        return kept, cut

    reading = asyncio.gather(read(process.stdout), read(process.stderr))
    late = False
    try:
        async with asyncio.timeout(limits.seconds):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(task)
                await process.stdin.drain()
            process.stdin.close()
            await asyncio.shield(reading)
            await process.wait()
    except TimeoutError:
        late = True
    finally:
        _kill(process, exposed)
        await process.wait()
        # Also where this is cancelled, or the pipes would stay open.
        out, err = await reading
    return late, out, err


def _kill(process: asyncio.subprocess.Process, exposed: bool) -> None:
    """Kill the launcher's group, unless it was seen to end and can't have left any."""
    if exposed or process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _encoded(content: str | bytes) -> str:
    # A model may write half of a surrogate pair.
    raw = content.encode(errors="replace") if isinstance(content, str) else content
    return base64.b64encode(raw).decode()
