"""A live line about the run, as a sink of metrics.

On a terminal one line is redrawn in place; elsewhere a plain line is printed now and
then, so that log files stay readable.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

from jaxrl.metrics import Sink

SHOWN = {
    "nll": "nll",
    "reward": "reward",
    "heldout_accuracy": "held-out",
    "logp_gap": "gap",
    "tokens_per_second": "tok/s",
}
"""Metric name to its label; a metric that was never logged is not shown."""


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as few as needed.

    >>> duration(5), duration(65), duration(3725)
    ('5s', '1m05s', '1h02m')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def number(value: float) -> str:
    """A number in at most seven characters.

    >>> number(0.51234), number(15324.2), number(0.00001234), number(float("nan"))
    ('0.512', '15324', '1.2e-05', 'nan')
    """
    size = abs(value)
    if size >= 1000:
        return f"{value:.0f}" if size < 1e6 else f"{value:.1e}"
    return f"{value:.3f}" if size >= 1e-3 or value == 0 else f"{value:.1e}"


def line(values: Mapping[str, float]) -> str:
    """The shown metrics with their labels.

    >>> line({"reward": 0.25, "tokens_per_second": 1234.0, "other": 1.0})
    'reward 0.250  tok/s 1234'
    """
    return "  ".join(
        f"{label} {number(values[name])}"
        for name, label in SHOWN.items()
        if name in values
    )


@contextlib.contextmanager
def progress(
    steps: int,
    *,
    label: str = "train",
    start: int = 0,
    every: int = 10,
    out: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Sink]:
    """Show step, reward, accuracy, gap, speed and time left.

    A step may be reported several times with different metrics; the newest value of
    each is shown.

    Args:
      steps: The last step.
      label: What is going on, one word.
      start: Step that the run goes on from.
      every: Steps between lines where `out` is not a terminal.
      out: Where to; None is standard output.
      clock: Seconds.
    """
    target = sys.stdout if out is None else out
    show = _live if target.isatty() else _plain
    seen: dict[str, float] = {}
    times = {start: clock()}
    with show(steps, label, every, target) as draw:

        def write(step: int, values: Mapping[str, float]) -> None:
            seen.update(values)
            times.setdefault(step, clock())
            draw(step, line(seen), duration(_seconds_left(times, step, steps)))

        yield write


def _seconds_left(times: Mapping[int, float], step: int, steps: int) -> float:
    """Steps to go times the mean of those done, except the first, which compiles."""
    reported = [*times]
    first = reported[1] if len(reported) > 2 else reported[0]
    spent = times[step] - times[first]
    return spent / max(step - first, 1) * (steps - step)


Draw = Callable[[int, str, str], None]


@contextlib.contextmanager
def _plain(steps: int, label: str, every: int, out: TextIO) -> Iterator[Draw]:
    printed: set[int] = set()

    def draw(step: int, text: str, left: str) -> None:
        due = step % every == 0 or step == steps or not printed
        if due and step not in printed:
            printed.add(step)
            print(f"{label} {step}/{steps}  {text}  {left} left", file=out, flush=True)

    yield draw


@contextlib.contextmanager
def _live(steps: int, label: str, every: int, out: TextIO) -> Iterator[Draw]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("[bold]{task.description}[/] {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}  [dim]{task.fields[left]} left[/]"),
        console=Console(file=out),
    )
    with bar:
        task = bar.add_task(label, total=steps, text="", left="?")
        yield lambda step, text, left: bar.update(
            task, completed=step, text=text, left=left
        )
