"""What a run leaves behind for a reader: curves, a summary, transcripts."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl.metrics import read_lines
from jaxrl.rollout.types import Failure, Problem


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plot of the page.

    Attributes:
      title: What is shown, with its unit.
      curves: Metric name to its label.
      bottom: Lower end of the vertical axis; None chooses.
      top: Upper end of the vertical axis; None chooses.
      logarithmic: Show magnitudes.
    """

    title: str
    curves: Mapping[str, str]
    bottom: float | None = None
    top: float | None = None
    logarithmic: bool = False


ACCURACY = Panel(
    "Held-out accuracy (greedy)", {"heldout_accuracy": "accuracy"}, bottom=0, top=1
)
PANELS = (
    Panel("Reward (mean over samples)", {"reward": "reward"}),
    ACCURACY,
    Panel(
        "Distance between policies (nats per token)",
        {"logp_gap": "sampler to trainer", "ref_kl": "KL to reference"},
        logarithmic=True,
    ),
    Panel("Response length (tokens)", {"response_tokens": "mean"}, bottom=0),
    Panel("Imitation loss (nats per token)", {"nll": "nll"}),
    Panel("Entropy (nats per token)", {"entropy": "entropy"}, bottom=0),
)
"""Panels whose metrics a run never logged are left out."""

_INK, _FAINT = "#1f2430", "#c9ced8"
_COLOURS = ("#2f6fde", "#d9622b", "#2e9e6b")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of up to `window` neighbours, centred, with fewer of them at the ends.

    Args:
      values: float [T].
      window: Odd number of neighbours.

    Returns:
      float [T].

    >>> smooth(np.array([0.0, 3.0, 6.0, 9.0]), window=3)
    array([1.5, 3. , 6. , 7.5])
    """
    kernel = np.ones(min(window, 2 * len(values) - 1))
    counts = np.convolve(np.ones_like(values), kernel, mode="full")
    sums = np.convolve(values, kernel, mode="full")
    half = len(kernel) // 2
    return (sums / counts)[half : half + len(values)]


def curve(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, ...]:
    """Steps and values at which a metric was logged, both [T]; null values left out."""
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.asarray(steps, float), np.asarray(values, float)


def plot(
    metrics: Path,
    picture: Path,
    *,
    title: str,
    baselines: Mapping[str, float] | None = None,
    panels: Sequence[Panel] = PANELS,
) -> None:
    """Draw the curves of a run as a PNG.

    Args:
      metrics: A `metrics.jsonl` file.
      picture: The file to write.
      title: Heading of the page.
      baselines: Label to accuracy, drawn as level lines beside the held-out accuracy.
      panels: What to draw, in reading order.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import PercentFormatter

    rows = read_lines(metrics)
    shown = [p for p in panels if any(len(curve(rows, name)[0]) for name in p.curves)]
    lines = max((len(shown) + 1) // 2, 1)
    with rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
        figure = Figure(figsize=(11, 0.6 + 3.1 * lines), layout=layout)
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=14, fontweight="bold", x=0.01, ha="left")
        for index, panel in enumerate(shown):
            axes = figure.add_subplot(lines, 2, index + 1)
            _draw(axes, panel, rows)
            axes.set_xlim(0, max(1, *(row["step"] for row in rows)) * 1.02)
            if panel is ACCURACY:
                _draw_baselines(axes, baselines or {})
                axes.yaxis.set_major_formatter(PercentFormatter(1))
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture, dpi=130, facecolor="white")


def _draw(axes: Any, panel: Panel, rows: Sequence[Mapping[str, Any]]) -> None:
    for (name, label), colour in zip(panel.curves.items(), _COLOURS, strict=False):
        steps, values = curve(rows, name)
        if not len(steps):
            continue
        if panel.logarithmic:
            values = np.maximum(np.abs(values), 1e-9)
        if len(steps) < 40:
            axes.plot(steps, values, color=colour, lw=2, marker="o", ms=4, label=label)
            continue
        window = 2 * (len(steps) // 40) + 1
        axes.plot(steps, values, color=colour, lw=0.8, alpha=0.3)
        axes.plot(steps, smooth(values, window), color=colour, lw=2, label=label)
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.grid(axis="y", color=_FAINT, lw=0.6, alpha=0.7)
    axes.set_xlabel("step")
    if panel.logarithmic:
        axes.set_yscale("log")
        axes.minorticks_off()
    else:
        axes.set_ylim(bottom=panel.bottom, top=panel.top)
    if len(panel.curves) > 1:
        axes.legend(frameon=False, fontsize=9)


def _draw_baselines(axes: Any, baselines: Mapping[str, float]) -> None:
    for label, value in baselines.items():
        axes.axhline(value, color=_INK, lw=1, ls=(0, (4, 3)))
        axes.annotate(
            f"{label} {value:.0%}",
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
        )


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write a summary as indented JSON, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def transcript(
    problem: Problem,
    turns: Sequence[tuple[str, str]],
    reward: float | Failure,
    *,
    heading: str,
) -> str:
    """An episode as one agent saw it, in Markdown; nothing in it is interpreted.

    Args:
      problem: What was asked.
      turns: What the agent read since its last turn, and what it said.
      reward: Of the episode.
      heading: Where the transcript comes from, for example the step.
    """
    parts = [f"## {heading}: {problem.id}"]
    if problem.answer is not None:
        parts += [f"Expected answer: `{problem.answer}`"]
    for told, said in turns:
        parts += ["Read:", _fenced(told), "Said:", _fenced(said)]
    judged = (
        f"{reward.kind}: {reward.message}"
        if isinstance(reward, Failure)
        else f"{reward:g}"
    )
    return "\n\n".join([*parts, f"Reward: {judged}"]) + "\n\n"


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any run of backticks in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def append_transcripts(path: Path, transcripts: Sequence[str]) -> None:
    """Add transcripts at the end of a Markdown file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(transcripts))
