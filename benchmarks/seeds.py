"""Runs of several seeds: what is finished is kept, and how far the seeds differ."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean


def trained(runs: Path, config: str, name: str, seed: int) -> Path:
    """Train with a config of configs/, unless it is done; returns the directory.

    Args:
      runs: Where the config's runs lie.
      config: Name of its file.
      name: Of the run.
      seed: Of the run.
    """
    if not (runs / name / "model").exists():
        shutil.rmtree(runs / name, ignore_errors=True)
        words = ("--name", name, "--seed", str(seed), "--logging.progress", "False")
        command = [sys.executable, "-m", "jaxrl", "train", f"configs/{config}.py"]
        subprocess.run([*command, *words], check=True)
    return runs / name


def spread(shares: Sequence[float]) -> str:
    """Mean, and lowest to highest, in percent."""
    shown = f"{100 * mean(shares):.1f} %"
    if len(shares) == 1:
        return shown
    return f"{shown} ({100 * min(shares):.1f} to {100 * max(shares):.1f})"
