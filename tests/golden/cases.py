"""Golden vectors as data: what a file holds, and what agreement means."""

import importlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = Mapping[str, Any]
Adapter = Callable[[dict, dict[str, np.ndarray]], Arrays]
"""`(hyperparameters, inputs) -> outputs`, by the names of the file."""


class Deviation(NamedTuple):
    """Where we differ from a reference on purpose.

    Attributes:
      reason: Why; listed in README.md too.
      compared: `(hp, inputs) -> bool`, broadcastable to the output: True on entries
        that must still agree.
    """

    reason: str
    compared: Callable[[dict, dict[str, np.ndarray]], Any]


class Case(NamedTuple):
    """One recorded call of a reference; the arrays are read when they are needed."""

    path: Path
    function: str
    name: str

    @property
    def family(self) -> str:
        return self.path.stem

    def __str__(self):
        return f"{self.family}-{self.function}-{self.name}"

    def hp(self) -> dict:
        """Hyperparameters; null means not used."""
        return json.loads(str(opened(self.path)[f"{self.function}/{self.name}/hp"]))

    def arrays(self, kind: str) -> dict[str, np.ndarray]:
        """Inputs (`in`) or outputs (`out`) by name."""
        start = f"{self.function}/{self.name}/{kind}/"
        file = opened(self.path)
        return {
            k.removeprefix(start): file[k] for k in file.files if k.startswith(start)
        }


@cache
def opened(path: Path):
    return np.load(path, allow_pickle=False)


def cases_in(directory: Path) -> list[Case]:
    """All cases of all families of a directory, in the order of the files."""
    paths = sorted(Path(directory).resolve().glob("*.npz"))
    if not paths:
        raise FileNotFoundError(f"{directory} has no golden vectors (*.npz)")
    return [
        Case(path, *key.split("/")[:2])
        for path in paths
        for key in opened(path).files
        if key.endswith("/hp")
    ]


def adapter_of(family: str, function: str) -> Adapter:
    """The adapter of a function; a missing one is a failure, never a skip."""
    name = f"tests.golden.adapters.{family}"
    try:
        adapters = importlib.import_module(name).ADAPTERS
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise LookupError(f"family {family} has no adapter: write {name}") from error
    if function not in adapters:
        raise LookupError(f"{name}.ADAPTERS has no {function}")
    return adapters[function]


def in_float32(inputs: Arrays) -> bool:
    """A case is one of float32 if any of its inputs is."""
    return any(x.dtype == np.float32 for x in inputs.values())


def disagreement(found, expected: np.ndarray, tolerance: float, compared=True) -> str:
    """What is wrong with an output, in words; empty if nothing is.

    Floats may differ by `tolerance` of the largest expected entry, all else by nothing.
    NaN and infinity must stand where they are expected.
    """
    found = np.asarray(found)
    if found.shape != expected.shape:
        return f"shape {found.shape}, expected {expected.shape}"
    compared = np.broadcast_to(np.asarray(compared, bool), expected.shape)
    if not np.issubdtype(expected.dtype, np.floating):
        wrong = (found != expected) & compared
        return f"{wrong.sum()} of {wrong.size} entries differ" if wrong.any() else ""
    scale = np.abs(expected, where=np.isfinite(expected), out=np.zeros(expected.shape))
    allowed = tolerance * scale.max(initial=0.0) + 1e-7 * tolerance
    right = np.isclose(found, expected, rtol=0.0, atol=allowed, equal_nan=True)
    wrong = ~right & compared
    if not wrong.any():
        return ""
    worst = np.nanmax(np.abs(np.where(wrong, found - expected, 0.0)))
    return (
        f"{wrong.sum()} of {wrong.size} entries differ, the worst by {worst:.3g} where "
        f"{allowed:.3g} is allowed"
    )
