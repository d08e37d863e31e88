"""Virtual environments of the peers, made on first use."""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = {"trl": ("trl", "torch"), "tunix": ("google-tunix",)}
"""What to install for each peer; `constraints-<peer>.txt` has the versions."""


class InstallError(Exception):
    """A peer could not be installed; says why and what to do."""


def interpreter(name: str) -> Path:
    """The Python to run an implementation with, installing it if necessary.

    Args:
      name: "trl" or "tunix"; any other name is run by this very interpreter.

    Raises:
      InstallError: pip failed; the message ends with its last lines.
    """
    if name not in REQUIREMENTS:
        return Path(sys.executable)
    root = HERE / ".venvs" / name
    python = root / "bin" / "python"
    done = root / "installed.txt"
    constraints = HERE / f"constraints-{name}.txt"
    if done.exists() and done.read_text() == constraints.read_text():
        return python
    print(f"installing {name} into {root} (a few minutes, 1.6 GB)", flush=True)
    venv.create(root, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "-c", str(constraints)]
    outcome = subprocess.run(
        [*command, *REQUIREMENTS[name]], capture_output=True, text=True
    )
    if outcome.returncode:
        tail = "\n".join(outcome.stderr.splitlines()[-5:])
        others = ",".join(n for n in ("jaxrl", *REQUIREMENTS) if n != name)
        raise InstallError(
            f"{name} could not be installed from {constraints.name}; run with "
            f"--implementations {others} to leave it out. pip said:\n{tail}"
        )
    done.write_text(constraints.read_text())
    return python
