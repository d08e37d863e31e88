"""Where the numbers of a step go: JSON Lines, TensorBoard, Weights & Biases.

A sink is a function `(step, values)`. Each constructor is a context manager that yields
one, so sinks compose with `fan_out` and close with the block that opened them. The live
display of `jaxrl.progress` is a sink too.
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxrl.errors import UserError

Sink = Callable[[int, Mapping[str, float]], None]
"""Takes the step and the values logged at it."""

METRICS_FILE = "metrics.jsonl"


def fan_out(*sinks: Sink) -> Sink:
    """One sink that feeds several, in order.

    >>> fan_out(print, print)(3, {"reward": 0.5})
    3 {'reward': 0.5}
    3 {'reward': 0.5}
    """

    def write(step: int, values: Mapping[str, float]) -> None:
        for sink in sinks:
            sink(step, values)

    return write


@contextlib.contextmanager
def json_lines(path: Path, *, resumed_step: int = 0) -> Iterator[Sink]:
    """One JSON object for each call, on disk when the call returns.

    Values that are not finite are written as null, so that any reader accepts the file.

    Args:
      path: The file; what it holds up to `resumed_step` is kept.
      resumed_step: Step of the checkpoint that the run goes on from; 0 starts anew.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _keep_lines(path, resumed_step)
    with path.open("a", encoding="utf-8") as file:

        def write(step: int, values: Mapping[str, float]) -> None:
            finite = {
                name: float(value) if math.isfinite(value) else None
                for name, value in values.items()
            }
            file.write(json.dumps({"step": int(step), **finite}) + "\n")
            file.flush()

        yield write


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics file; a last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise UserError(
                    f"{path} line {number} is not JSON: {line[:40]!r}; "
                    "remove the line or the file"
                ) from None
    return rows


def _keep_lines(path: Path, last_step: int) -> None:
    """Drop the lines of steps that will be done again, atomically."""
    rows = read_lines(path) if last_step > 0 else []
    kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= last_step]
    part = path.with_suffix(path.suffix + ".part")
    part.write_text("".join(kept), encoding="utf-8")
    part.replace(path)


@contextlib.contextmanager
def tensorboard(directory: Path, *, resumed_step: int = 0) -> Iterator[Sink]:
    """Scalars of an event file; events after `resumed_step` are hidden on resume."""
    from tensorboardX import SummaryWriter

    purge_step = resumed_step + 1 if resumed_step > 0 else None
    with SummaryWriter(str(directory), purge_step=purge_step) as writer:

        def write(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, float(value), int(step))
            writer.flush()

        yield write


@contextlib.contextmanager
def wandb(
    project: str,
    directory: Path,
    config: Mapping[str, Any],
    *,
    start: Callable[..., Any] | None = None,
) -> Iterator[Sink]:
    """A Weights & Biases run named after the run's directory.

    Args:
      project: Name of the project.
      directory: The run's directory; its name is the run's id, so that a resumed run
        goes on in place.
      config: The described config.
      start: Opens the run; None is `wandb.init`.
    """
    run = (start or _wandb_init())(
        project=project,
        id=directory.name,
        name=directory.name,
        dir=str(directory),
        config=dict(config),
        resume="allow",
    )
    try:
        yield lambda step, values: run.log(dict(values), step=int(step))
    finally:
        run.finish()


def _wandb_init() -> Callable[..., Any]:
    try:
        import wandb as client  # pyright: ignore[reportMissingImports]  (optional)
    except ImportError:
        raise UserError(
            "logging.wandb_project is set but wandb is not installed; "
            "pip install wandb, or leave the field empty"
        ) from None
    return client.init


@contextlib.contextmanager
def sinks(
    directory: Path,
    *,
    config: Mapping[str, Any],
    wandb_project: str = "",
    resumed_step: int = 0,
) -> Iterator[Sink]:
    """Everything a run logs to, as one sink.

    Args:
      directory: The run's directory; gets `metrics.jsonl` and `tensorboard/`.
      config: The described config, for Weights & Biases.
      wandb_project: Also log to this project; empty does not.
      resumed_step: Step of the checkpoint that the run goes on from; 0 starts anew.
    """
    with contextlib.ExitStack() as stack:
        opened = [wandb(wandb_project, directory, config)] if wandb_project else []
        opened += [
            json_lines(directory / METRICS_FILE, resumed_step=resumed_step),
            tensorboard(directory / "tensorboard", resumed_step=resumed_step),
        ]
        yield fan_out(*[stack.enter_context(sink) for sink in opened])
