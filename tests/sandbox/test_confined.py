"""A model's programs attack; the host stays as it is, and the run goes on."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jaxrl.errors import UserError
from jaxrl.sandbox.confined import PYTHON, Sandbox, problem_with_namespaces
from jaxrl.sandbox.directory import temporary_directory
from jaxrl.sandbox.filter import ARCHITECTURES, REFUSED
from jaxrl.sandbox.limits import MIB, Limits
from jaxrl.sandbox.processes import run_confined

ROOT = Path(__file__).parents[2]
LIMITS = Limits(
    seconds=20.0,
    cpu_seconds=10,
    memory=192 * MIB,
    disk=MIB,
    processes=16,
    output=10_000,
)
SHORT = Limits(seconds=0.7, cpu_seconds=10, memory=192 * MIB, processes=16)

needs_namespaces = pytest.mark.skipif(
    problem_with_namespaces() is not None, reason=f"{problem_with_namespaces()}"
)


def run(program, limits=LIMITS, *, directory=None, files=None):
    """Python or, if it begins with `sh:`, a shell script."""
    kind, _, script = program.partition("sh:")
    argv = [PYTHON, "-I", "-S", "program"] if kind else ["/bin/sh", "program"]
    base = (str(Path(PYTHON).parents[1]), "/usr", "/bin", "/lib", "/lib64")
    return asyncio.run(
        run_confined(
            argv,
            limits=limits,
            readable=[path for path in base if os.path.exists(path)],
            files={"program": textwrap.dedent(program if kind else script)}
            | (files or {}),
            directory=directory,
        )
    )


@pytest.fixture(params=[pytest.param("namespaces", marks=needs_namespaces), "weaker"])
def directory(request):
    """None in namespaces; elsewhere a directory of the host to run in."""
    if request.param == "namespaces":
        yield None
        return
    with temporary_directory() as path:
        yield path


def test_namespaces_are_used_where_there_are_any():
    if shutil.which("unshare") is None:
        pytest.skip("nothing tells by itself whether there are namespaces")
    kinds = ["--user", "--pid", "--net", "--mount", "--ipc", "--uts"]
    tried = subprocess.run(["unshare", *kinds, "--fork", "true"], capture_output=True)
    if tried.returncode:
        pytest.skip(f"there are none: {tried.stderr}")
    assert problem_with_namespaces() is None


def test_a_program_runs_in_its_directory_with_its_files(directory):
    program = """
        import os, sys
        print(open("data/x.txt").read(), os.getcwd() == os.environ["HOME"])
        print(sys.stdin.read() == "", file=sys.stderr)
        open("new", "w").write("x")
        sys.exit(3)
    """
    found = run(program, directory=directory, files={"data/x.txt": "é", "raw": b"\xff"})
    assert (found.status, found.failure) == (3, None)
    assert (found.stdout, found.stderr) == ("é True\n", "True\n")
    assert not found.stdout_cut
    assert not found.stderr_cut
    assert 0 < found.seconds < 20


def test_the_environment_is_not_that_of_the_host(directory, monkeypatch):
    monkeypatch.setenv("SECRET", "token-of-the-host")
    program = """
        import os, glob
        print(sorted(os.environ))
        for name in glob.glob("/proc/*/environ"):
            try:
                print(open(name).read())
            except OSError:
                pass
    """
    found = run(program, directory=directory)
    assert found.stdout.startswith("['HOME', 'LANG', 'PATH', 'TMPDIR']")
    assert "token-of-the-host" not in found.stdout


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("of the host")
    return path


ATTACKS = """
    print(open(path).read())
    open(path, "w").write("x")
    os.unlink(path)
    os.symlink(path, "a"); print(open("a").read())
    os.symlink(path, "b"); open("b", "w").write("x")
    os.symlink(parent, "c"); print(open("c/secret").read())
    os.symlink("/", "d"); print(open("d" + path).read())
    os.link(path, "e"); print(open("e").read())
    os.rename(path, "f"); print(open("f").read())
    print(open("/proc/1/root" + path).read())
    print(open("../" * 20 + path).read())
    os.chroot("/proc/1/root"); print(open(path).read())
    open(parent + "/new", "w")
    os.mkdir(parent + "/new")
    shutil.rmtree(parent)
    subprocess.run(["cat", path], check=True)
    subprocess.run(["mount", "--bind", "/", "."], check=True)
    subprocess.run(["unshare", "-Ur", "true"], check=True)
"""


def test_files_of_the_host_are_out_of_reach(directory, secret):
    attempts = [line.strip() for line in ATTACKS.strip().splitlines()]
    program = f"""
        import os, shutil, subprocess
        path, parent = {str(secret)!r}, {str(secret.parent)!r}
        for attack in {attempts!r}:
            try:
                exec(attack)
                print("succeeded:", attack)
            except (OSError, subprocess.CalledProcessError):
                pass
        print("the end")
    """
    assert run(program, directory=directory).stdout == "the end\n"
    assert secret.read_text() == "of the host"
    assert list(secret.parent.iterdir()) == [secret]


def test_only_the_own_directory_can_be_written(directory):
    program = """
        for place in ("/usr/x", "/x", "/etc/x", "/dev/x", "/dev/shm/x", "/var/tmp/x"):
            try:
                open(place, "w")
                print("opened", place)
            except OSError:
                pass
    """
    found = run(program, directory=directory)
    assert (found.status, found.stdout) == (0, "")


def test_nothing_that_a_program_leaves_keeps_its_directory(secret):
    before = secret.stat().st_mode
    program = f"""
        import os
        for number in range(2000):
            os.mkdir("d")
            if number % 500 == 0:
                os.symlink({str(secret)!r}, "link")
                os.chmod(".", 0o500)
            os.chdir("d")
        print("made")
    """
    with temporary_directory() as path:
        found = run(program, directory=path)
        assert found.stdout == "made\n", found.stderr
    assert not os.path.exists(path)
    assert secret.stat().st_mode == before


def test_output_can_be_thrown_away(directory):
    found = run("sh: echo hi > /dev/null && cat /dev/null", directory=directory)
    assert (found.status, found.stdout, found.stderr) == (0, "", "")


def test_nothing_can_be_reached_over_a_network(directory):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"""
            import socket
            for kind in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 40):
                try:
                    made = socket.socket(kind, socket.SOCK_STREAM)
                    made.connect(("127.0.0.1", {port}))
                    print("connected")
                except OSError as error:
                    print(type(error).__name__)
        """
        found = run(program, directory=directory)
    assert found.stdout == "PermissionError\n" * 4


@pytest.mark.parametrize(
    "address", ["\0jaxrl-{}", "{}/service"], ids=["abstract", "file"]
)
def test_services_of_the_host_cannot_be_reached(directory, tmp_path, address):
    with socket.socket(socket.AF_UNIX) as server:
        address = address.format(tmp_path)
        server.bind(address)
        server.listen()
        program = f"""
            import socket
            one, other = socket.socketpair()
            one.send(b"x")
            try:
                socket.socket(socket.AF_UNIX).connect({address!r})
                print("connected")
            except OSError:
                print("refused")
        """
        assert run(program, directory=directory).stdout == "refused\n"


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("import time; time.sleep(60)", "timeout"),
        ("sh: kill -STOP $PPID; trap '' TERM INT HUP; while :; do :; done", "timeout"),
        ("while True: print('x' * 1000)", "output"),
        ("sh: yes >&2", "output"),
    ],
)
def test_what_does_not_end_is_killed(program, failure, directory):
    start = time.monotonic()
    found = run(program, SHORT, directory=directory)
    assert time.monotonic() - start < 15
    assert (found.failure, found.status) == (failure, None)
    assert found.stdout_cut + found.stderr_cut == (failure == "output")
    assert len(found.stdout) + len(found.stderr) <= 2 * SHORT.output


@pytest.mark.slow
def test_processor_time_is_limited(directory):
    limits = Limits(seconds=30.0, cpu_seconds=1, memory=192 * MIB)
    found = run("while True: pass", limits, directory=directory)
    assert found.failure == "cpu"


def test_memory_of_a_process_is_limited(directory):
    found = run("x = bytearray(10**9)", directory=directory)
    assert (found.status, found.failure) == (1, None)
    assert "MemoryError" in found.stderr


def test_files_cannot_grow_beyond_the_limit(directory):
    found = run("open('big', 'wb').write(bytes(2 * 2**20))", directory=directory)
    assert found.status != 0
    assert "OSError" in found.stderr


@needs_namespaces
def test_memory_of_all_processes_and_all_files_are_limited():
    hoard = """
        import os, time
        for _ in range(6):
            if not os.fork():
                held = bytearray(60 * 2**20)
                held[::4096] = b"x" * len(held[::4096])
                time.sleep(30)
        time.sleep(30)
    """
    assert run(hoard).failure == "memory"
    many = "for i in range(99): open(str(i), 'wb').write(bytes(2**19))"
    assert "No space left" in run(many).stderr


FORK_BOMB = """
    import os
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""


@needs_namespaces
@pytest.mark.parametrize(
    "bomb",
    [
        FORK_BOMB,
        pytest.param(
            "sh: f() { f | f & }; f; while :; do :; done", marks=pytest.mark.slow
        ),
    ],
)
def test_a_fork_bomb_is_contained_and_killed(bomb):
    assert run(bomb, SHORT).failure == "timeout"
    # Nothing is left of it that would keep the limit from another.
    count = """
        import os
        started = 0
        try:
            while os.fork():
                started += 1
        except OSError:
            print(started, flush=True)
        os._exit(0)
    """
    assert 8 <= int(run(count).stdout.split()[0]) < 16


def test_a_process_in_the_background_ends_with_the_program(directory):
    program = """
        import os, time
        if not os.fork():
            try:
                os.setsid()
            except PermissionError:
                pass
            while True:
                time.sleep(0.1)
        print("parent")
    """
    found = run(program, directory=directory)
    assert (found.stdout, found.failure) == ("parent\n", None)
    assert found.seconds < 15


def test_processes_of_the_host_cannot_be_signalled(directory):
    with subprocess.Popen(["sleep", "60"]) as victim:
        program = f"""
            import os, signal
            for target in ({victim.pid}, {os.getpid()}, -1):
                try:
                    os.kill(target, signal.SIGCONT if target == -1 else signal.SIGKILL)
                    print("sent", target)
                except OSError:
                    pass
        """
        found = run(program, directory=directory)
        assert f"sent {victim.pid}" not in found.stdout
        assert victim.poll() is None
        victim.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize(
    ("then", "failure"), [("sleep", "timeout"), ("true", "killed")]
)
def test_a_program_neither_outlives_its_launcher_nor_excuses_itself(
    then, failure, number, tmp_path
):
    seconds = f"8{os.getpid()}.5"
    program = f"""
        import os, time
        parent = os.getppid()
        open("writing", "w").write(str(parent))
        os.rename("writing", "parent")
        while os.getppid() == parent:
            time.sleep(0.01)
        os.execlp({then!r}, {then!r}, {seconds!r})
    """

    def kill():
        # From outside, as Landlock may keep the program itself from doing it.
        awaited((tmp_path / "parent").exists)
        os.kill(int((tmp_path / "parent").read_text()), number)

    with ThreadPoolExecutor(1) as thread:
        killing = thread.submit(kill)
        limits = SHORT if then == "sleep" else LIMITS
        found = run(program, limits, directory=str(tmp_path))
        killing.result()
    assert (found.failure, found.status) == (failure, None)
    assert f"sleep {seconds}" not in processes()


def test_the_supervisor_cannot_be_interrupted(directory):
    program = """
        import os, signal
        try:
            os.kill(os.getppid(), signal.SIGINT)
        except PermissionError:
            pass
        print("on")
    """
    found = run(program, directory=directory)
    assert (found.stdout, found.failure) in [("on\n", None), ("on\n", "killed")]


def test_dangerous_system_calls_are_refused(directory):
    column = list(ARCHITECTURES).index(os.uname().machine)
    numbers = {name: both[column] for name, both in REFUSED.items()}
    program = f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        for name, number in {numbers}.items():
            if libc.syscall(number, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1:
                print(name, ctypes.get_errno())
        print("all")
    """
    assert run(program, directory=directory).stdout == "all\n"


@needs_namespaces
def test_privileges_are_gone():
    program = """
        lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(*(lines[x].strip() for x in ("CapEff", "NoNewPrivs", "Seccomp")))
    """
    assert run(program).stdout.split() == ["0" * 16, "1", "2"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["no-such-program"], "No such file"),
        (["/tmp"], "Permission denied"),
        (["sh", "a\0b"], "null byte"),
        (["sh", "\ud800"], "surrogates"),
    ],
)
def test_a_program_that_cannot_start_is_no_failure_of_the_sandbox(
    directory, argv, message
):
    found = asyncio.run(
        run_confined(
            argv, limits=LIMITS, readable=["/usr"], files={}, directory=directory
        )
    )
    assert (found.status, found.failure) == (127, None)
    assert message in found.stderr


@needs_namespaces
def test_what_cannot_be_set_up_is_said():
    found = run("print(1)", files={"big": bytes(2 * LIMITS.disk)})
    assert (found.failure, found.stdout) == ("setup", "")
    assert "No space left" in found.stderr


def test_half_a_surrogate_pair_is_no_program(directory):
    found = run("print('\ud800')", directory=directory)
    assert (found.status, found.stdout) == (0, "?\n")


@needs_namespaces
def test_many_run_at_once_and_no_more_than_allowed():
    async def measured():
        sandbox = Sandbox(limits=LIMITS, concurrency=2)
        script = "date +%s.%N; sleep 0.1; date +%s.%N"
        return await asyncio.gather(*(sandbox.shell(script) for _ in range(4)))

    spans = [tuple(map(float, one.stdout.split())) for one in asyncio.run(measured())]
    for start, _ in spans:
        assert sum(a <= start < b for a, b in spans) <= 2


@needs_namespaces
def test_an_event_loop_that_is_left_with_its_slots_leaves_others_theirs():
    sandbox = Sandbox(limits=LIMITS, concurrency=1)

    async def both():
        return await asyncio.gather(*(sandbox.shell("echo on") for _ in range(2)))

    async def left():
        stuck = [asyncio.ensure_future(sandbox.shell("sleep 60")) for _ in range(2)]
        await asyncio.sleep(0.5)
        found = await asyncio.to_thread(asyncio.run, both())
        for one in stuck:
            one.cancel()
        await asyncio.wait(stuck)
        return [one.stdout for one in found]

    assert asyncio.run(left()) == ["on\n"] * 2


@needs_namespaces
def test_a_cancelled_run_is_killed():
    sleep = f"sleep 7{os.getpid()}.25"

    async def cancelled():
        sandbox = Sandbox(limits=LIMITS, concurrency=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sandbox.shell(sleep), 0.5)
        return await sandbox.python("print(1)")

    assert asyncio.run(cancelled()).stdout == "1\n"
    assert sleep not in processes()


@needs_namespaces
def test_more_of_the_host_can_be_made_readable(tmp_path):
    (tmp_path / "data").write_text("shared")
    if os.geteuid() == 0:
        with pytest.raises(UserError, match="may not be read by everyone"):
            Sandbox(readable=[str(tmp_path)])
    tmp_path.chmod(0o755)
    sandbox = Sandbox(limits=LIMITS, readable=[str(tmp_path)])
    found = asyncio.run(sandbox.shell(f"cat {tmp_path}/data; echo x > {tmp_path}/data"))
    assert found.stdout == "shared"
    assert "Read-only" in found.stderr


@needs_namespaces
def test_it_goes_when_its_parent_is_killed():
    sleep = f"sleep 7{os.getpid()}.75"
    program = (
        "import asyncio; from jaxrl.sandbox.confined import Sandbox; "
        f"asyncio.run(Sandbox().shell('{sleep}'))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as parent:
        awaited(lambda: sleep in processes())
        os.kill(parent.pid, signal.SIGKILL)
    awaited(lambda: sleep not in processes())


def processes():
    """The command lines of all processes of the host."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_text().replace("\0", " ").strip())
    return found


def awaited(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in 10 s")


def test_without_namespaces_it_is_refused_or_accepted():
    # The filter of a confined program refuses namespaces, as containers do.
    program = """
        import asyncio
        from jaxrl.errors import UserError
        from jaxrl.sandbox.confined import Sandbox
        from jaxrl.sandbox.filter import install_filter
        install_filter(namespaces=True)
        try:
            Sandbox()
        except UserError as error:
            print(error)
        sandbox = Sandbox(accept_weaker=True)
        found = asyncio.run(sandbox.python("print(6 * 7)"))
        print(sandbox.weaker, found.stdout, found.failure)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    out = subprocess.check_output(command, cwd=ROOT, text=True)
    assert "Operation not permitted" in out
    assert "accept_weaker=True" in out
    assert out.endswith("True 42\n None\n")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Limits(seconds=0), "Limits.seconds is 0"),
        (lambda: Limits(memory=-1), "Limits.memory is -1"),
        (lambda: Sandbox(concurrency=0, accept_weaker=True), "concurrency is 0"),
        (
            lambda: Sandbox(readable=["/no/such"], accept_weaker=True),
            "readable has '/no/such'",
        ),
        (lambda: Sandbox(readable=["/"], accept_weaker=True), "readable has '/'"),
        (
            lambda: asyncio.run(
                Sandbox(accept_weaker=True).run([], files={"../x": ""})
            ),
            "files has '../x'",
        ),
        (
            lambda: asyncio.run(Sandbox(accept_weaker=True).run([], files={"/x": ""})),
            "files has '/x'",
        ),
    ],
)
def test_mistakes_are_named(make, named):
    with pytest.raises(UserError, match=named):
        make()
