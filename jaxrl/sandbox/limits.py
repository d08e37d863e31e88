"""What a confined program may use, and what came of it."""

import dataclasses

from jaxrl.errors import UserError

MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one run of a program may use; beyond it, it is refused or killed.

    Attributes:
      seconds: Of wall-clock time, from its start; the whole run is killed.
      cpu_seconds: Of processor time of each process, whole seconds; it is killed.
      memory: Bytes of address space of each process, where allocations fail, and of the
        memory of all processes together, where the run is killed.
      disk: Bytes of its temporary directory; writes fail.
      processes: And threads; more can't be started.
      open_files: Of each process.
      output: Bytes kept of stdout and of stderr; a program that writes more is killed.
    """

    seconds: float = 10.0
    cpu_seconds: int = 10
    memory: int = 512 * MIB
    disk: int = 64 * MIB
    processes: int = 32
    open_files: int = 64
    output: int = 64 * 1024

    def __post_init__(self) -> None:
        """Refuse limits under which nothing starts."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise UserError(f"Limits.{field.name} is {value}; give more than 0")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a confined program ended.

    Attributes:
      status: Exit status, negative for the number of a signal, as in `subprocess`; None
        if the run was killed from outside.
      stdout: What it wrote, as UTF-8 with replacements.
      stderr: Likewise.
      stdout_cut: True if it wrote more than is kept.
      stderr_cut: Likewise.
      seconds: Wall-clock time, with that of setting up the confinement.
      failure: None if the program ended by itself, with any status; else "timeout",
        "cpu", "memory", "output"; "killed" if the launcher was, which programs that are
        confined less may do; or "setup" if it could not be started as asked, which is
        no fault of the program.
    """

    status: int | None
    stdout: str
    stderr: str
    stdout_cut: bool
    stderr_cut: bool
    seconds: float
    failure: str | None
