"""Virtual environments of the implementations, made on first use."""

import subprocess
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
REQUIREMENTS = {
    "jaxrl": ("--editable", str(ROOT)),
    "trl": ("trl", "torch"),
    "tunix": ("google-tunix",),
}
"""What to install for each implementation.

jaxrl too gets an environment of its own, with its dependencies and nothing else: where
PyTorch is installed, `transformers` imports it, which costs 180 MB.
"""
CONSTRAINTS = {
    "jaxrl": ROOT / "constraints.txt",
    "trl": HERE / "constraints-trl.txt",
    "tunix": HERE / "constraints-tunix.txt",
}
"""Files with the versions."""


class InstallError(Exception):
    """An implementation could not be installed; says why and what to do."""


def interpreter(name: str) -> Path:
    """The Python to run an implementation with, installing it if necessary.

    Args:
      name: "jaxrl", "trl" or "tunix".

    Raises:
      InstallError: pip failed; the message ends with its last lines.
    """
    root = HERE / ".venvs" / name
    python = root / "bin" / "python"
    done = root / "installed.txt"
    constraints = CONSTRAINTS[name]
    if done.exists() and done.read_text() == constraints.read_text():
        return python
    print(f"installing {name} into {root} (a few minutes, up to 1.6 GB)", flush=True)
    venv.create(root, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "-c", str(constraints)]
    outcome = subprocess.run(
        [*command, *REQUIREMENTS[name]], capture_output=True, text=True
    )
    if outcome.returncode:
        tail = "\n".join(outcome.stderr.splitlines()[-5:])
        others = ",".join(n for n in REQUIREMENTS if n != name)
        raise InstallError(
            f"{name} could not be installed from {constraints.name}; run with "
            f"--implementations {others} to leave it out. pip said:\n{tail}"
        )
    done.write_text(constraints.read_text())
    return python
