"""From results of Silo-Bench to rows, means and Markdown."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from jaxrl.bench.silo import BOARDS, SETTINGS_FILE, Matrix, Settings, read_result
from jaxrl.tasks.silo.agents import SOLO
from jaxrl.tasks.silo.guess import constant_guess
from jaxrl.tasks.silo.instances import RELEASED
from jaxrl.tasks.silo.metrics import coordination_cost
from jaxrl.tasks.silo.scoring import SCORERS
from jaxrl.tasks.silo.task import LEVELS

Cell = float | None
NO_VALUE = "-"


@dataclasses.dataclass(frozen=True)
class Row:
    """A run, as tables need it.

    Attributes:
      label: Of the agents.
      task: Its id.
      agents: Size of the team.
      protocol: Its name.
      failure: Why there is no result, or None.
      scores: S and P by scorer.
      cost: See `metrics.Cost`.
      failings: See `metrics.Failings`.
    """

    label: str
    task: str
    agents: int
    protocol: str
    failure: str | None
    scores: Mapping[str, Mapping[str, Any]]
    cost: Mapping[str, float]
    failings: Mapping[str, bool]

    @property
    def level(self) -> str:
        """Of the task."""
        return self.task.partition("-")[0]

    @property
    def solo(self) -> bool:
        """Whether one agent had the whole input."""
        return self.protocol == SOLO


Value = Callable[[Row], Cell]


def rows_in(output: Path) -> list[Row]:
    """All runs of all labels below a directory."""
    return [
        row_of(settings.parent.name, read_result(path))
        for settings in sorted(output.glob(f"*/{SETTINGS_FILE}"))
        for protocol in BOARDS
        for path in sorted((settings.parent / protocol).glob("*.json"))
    ]


def row_of(label: str, result: Mapping[str, Any]) -> Row:
    """A result as a row."""
    return Row(
        label,
        result["task"],
        result["agents"],
        result["protocol"],
        result["failure"],
        result.get("scores", {}),
        result.get("cost", {}),
        result.get("failings", {}),
    )


def mean(rows: Iterable[Row], value: Value) -> Cell:
    """Mean over runs that have the value; None if none has."""
    values = [value(row) for row in rows if row.failure is None]
    known = [float(x) for x in values if x is not None]
    return fmean(known) if known else None


def score(scorer: str, name: str) -> Value:
    """S (`success_rate`) or P (`partial`) of a scorer."""
    return lambda row: row.scores[scorer][name]


def success(scorer: str) -> Value:
    """1 where every agent is right, and else 0."""
    return lambda row: float(row.scores[scorer]["success_rate"] == 1)


def gap(scorer: str) -> Value:
    """P - S, where there is a P."""

    def value(row: Row) -> Cell:
        part = row.scores[scorer]["partial"]
        return None if part is None else part - row.scores[scorer]["success_rate"]

    return value


def cost(name: str) -> Value:
    """A number of `metrics.Cost`."""
    return lambda row: row.cost[name]


def failing(name: str) -> Value:
    """1 where a flag of `metrics.Failings` is set."""
    return lambda row: float(row.failings[name])


def groups(rows: Sequence[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    """Rows by label and protocol, in the order of protocols."""
    keys = dict.fromkeys((row.label, row.protocol) for row in rows)
    return [
        (key, [row for row in rows if (row.label, row.protocol) == key]) for key in keys
    ]


def by_level(rows: Sequence[Row], value: Value) -> str:
    """A table: label and protocol by level."""
    heads = ["label", "protocol", *LEVELS, "all"]
    lines = [
        [
            *key,
            *(mean((r for r in part if r.level == x), value) for x in LEVELS),
            mean(part, value),
        ]
        for key, part in groups(rows)
    ]
    return table(heads, lines)


def by_size(rows: Sequence[Row], value: Value) -> str:
    """A table: label and protocol by team size."""
    sizes = sorted({row.agents for row in rows})
    lines = [
        [*key, *(mean((r for r in part if r.agents == n), value) for n in sizes)]
        for key, part in groups(rows)
    ]
    return table(["label", "protocol", *(f"N={n}" for n in sizes)], lines)


def by_task(rows: Sequence[Row], scorer: str) -> str:
    """A table: S of each task by label and protocol."""
    parts = groups(rows)
    value = score(scorer, "success_rate")
    lines = [
        [
            task,
            RELEASED[task].name,
            *(mean((r for r in part if r.task == task), value) for _, part in parts),
        ]
        for task in RELEASED
        if any(row.task == task for row in rows)
    ]
    return table(["task", "", *(" ".join(key) for key, _ in parts)], lines)


def columns(rows: Sequence[Row], values: Mapping[str, Value]) -> str:
    """A table: label and protocol by named values."""
    lines = [
        [*key, *(mean(part, value) for value in values.values())]
        for key, part in groups(rows)
    ]
    return table(["label", "protocol", *values], lines)


def coordination(rows: Sequence[Row], scorer: str) -> str:
    """A table of RCC: what a team loses against one agent with the same input.

    Both sides are means over the tasks that both of them have a result for.
    """
    sizes = sorted({row.agents for row in rows if row.solo})

    def known(part: Iterable[Row], size: int) -> dict[str, Row]:
        return {r.task: r for r in part if r.agents == size and r.failure is None}

    def cell(part: Sequence[Row], label: str, size: int) -> Cell:
        team = known(part, size)
        solo = known((r for r in rows if r.solo and r.label == label), size)
        shared = team.keys() & solo.keys()
        return coordination_cost(
            mean((team[task] for task in shared), success(scorer)),
            mean((solo[task] for task in shared), success(scorer)),
        )

    lines = [
        [label, protocol, *(cell(part, label, size) for size in sizes)]
        for (label, protocol), part in groups([r for r in rows if not r.solo])
    ]
    return table(["label", "protocol", *(f"N={n}" for n in sizes)], lines)


def guesses(rows: Sequence[Row], settings: Settings) -> list[Row]:
    """Runs of a team that knows other instances and submits what is typical of them.

    Args:
      rows: Whose tasks and team sizes are guessed.
      settings: Of the data.
    """
    tasks = tuple(dict.fromkeys(row.task for row in rows))
    sizes = tuple(dict.fromkeys(row.agents for row in rows))
    found = []
    for cell in Matrix(tasks, sizes, (NO_VALUE,)).cells(settings):
        instance = cell.instance
        answers = [*enumerate(constant_guess(instance.task, instance.agents))]
        submitted = [(i, json.loads(json.dumps(answer))) for i, answer in answers]
        scores = {
            name: dataclasses.asdict(score(instance, submitted))
            for name, score in SCORERS.items()
        }
        result = {**cell.key, "failure": None, "scores": scores}
        found.append(row_of("constant guess", result))
    return found


def table(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Markdown."""
    shown = [[*heads], ["---"] * len(heads), *([*map(_text, line)] for line in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in shown)


def _text(value: Any) -> str:
    if value is None:
        return NO_VALUE
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"
