"""Train every method on sums, several seeds each, and write the table of results.

    python benchmarks/methods.py --prepare            # the start and the teacher
    python benchmarks/methods.py                      # everything, about an hour
    python benchmarks/methods.py --only grpo dapo     # some; the others' rows stay

Runs are `jaxrl train configs/sums/NAME.py --seed S`, one on each CPU core at a time.
What was measured goes to benchmarks/results/methods.json; the table in
configs/README.md is written anew from it.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.report import put_between  # noqa: E402

CONFIGS, SUMS = ROOT / "configs" / "sums", ROOT / "runs" / "sums"
RESULTS = ROOT / "benchmarks" / "results" / "methods.json"
README = ROOT / "configs" / "README.md"
BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"

STARTS = ("warmup", "teacher")
TAUGHT = (
    "opd",
    "aopd",
    "scope",
    "gkd",
    "minillm",
    "seq_kd",
    "context_distillation",
    "experience_internalization",
    "sft",
)
"""Methods that learn from a teacher or its texts; the others learn from rewards."""
CONTEXT = ("context_distillation", "experience_internalization")


def names() -> list[str]:
    """All methods with a config."""
    found = sorted(path.stem for path in CONFIGS.glob("*.py"))
    return [name for name in found if name not in STARTS]


def jaxrl(*words: str, core: int | None = None) -> str:
    """Run the command line, on one core if one is given; returns what it printed."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(SUMS / "compiled")}
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    command = [*pinned, sys.executable, "-m", "jaxrl", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | cache, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def prepare() -> dict:
    """Make the start and the teacher, unless they are there; say how good they are."""
    sys.path.insert(0, str(ROOT))
    from jaxrl.quickstart import ARCHITECTURE, character_tokenizer, write_policy

    if not (SUMS / "policy").exists():
        write_policy(SUMS / "policy", ARCHITECTURE, character_tokenizer(), seed=0)
    for name in STARTS:
        if not (SUMS / name / "summary.json").exists():
            print(f"training {name}", flush=True)
            jaxrl("train", f"configs/sums/{name}.py")
    start, teacher = (summary(SUMS / name)["accuracy_after"] for name in STARTS)
    found = jaxrl(
        "evaluate", "benchmarks/sums_in_context.py", "--checkpoint", "runs/sums/warmup"
    )
    rows = dict(line.split() for line in found.splitlines())
    context = float(rows["heldout_accuracy"])
    return {"start": start, "teacher": teacher, "teacher_in_context": context}


def summary(directory: Path) -> dict:
    """How a run ended."""
    return json.loads((directory / "summary.json").read_text())


def train(name: str, seed: int, core: int) -> dict:
    """Train one method with one seed on one core."""
    run = f"{name}-{seed}"
    shutil.rmtree(SUMS / run, ignore_errors=True)
    began = time.monotonic()
    words = ("--seed", str(seed), "--name", run, "--logging.progress", "False")
    jaxrl("train", f"configs/sums/{name}.py", *words, core=core)
    found = summary(SUMS / run)
    return {
        "before": found["accuracy_before"],
        "after": found["accuracy_after"],
        "seconds": time.monotonic() - began,
    }


def train_all(todo: Iterable[tuple[str, int]], results: dict) -> None:
    """Train on all cores; every run is written down as soon as it has ended."""
    cores: SimpleQueue[int] = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)

    def one(job: tuple[str, int]) -> None:
        name, seed = job
        core = cores.get()
        try:
            found = train(name, seed, core)
        finally:
            cores.put(core)
        results["methods"].setdefault(name, {})[str(seed)] = found
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        print(f"{name:28} seed {seed}  {found['after']:.3f}", flush=True)

    with ThreadPoolExecutor(cores.qsize()) as threads:
        list(threads.map(one, todo))


def table(results: dict) -> str:
    """The two tables in Markdown."""
    start = results["start"]
    lines = [
        "| method | held-out before | after: mean (lowest to highest) | seeds |",
        "|---|---|---|---|",
    ]
    methods = results["methods"]
    for name in sorted(set(methods) - set(TAUGHT)):
        lines.append(f"| `sums/{name}` | {percent(start)} | {cells(methods[name])} |")
    lines += [
        "",
        "| method | student before | teacher | student after: mean (lowest to highest) "
        "| gap closed | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for name in (name for name in TAUGHT if name in methods):
        teacher = results["teacher_in_context" if name in CONTEXT else "teacher"]
        shown, seeds = cells(methods[name]).split(" | ")
        closed = (mean(methods[name]) - start) / (teacher - start)
        known = "-" if name == "sft" else percent(teacher)
        gap = "-" if name == "sft" else f"{100 * closed:.0f} %"
        lines.append(
            f"| `sums/{name}` | {percent(start)} | {known} | {shown} | {gap} | "
            f"{seeds} |"
        )
    return "\n".join(lines)


def mean(runs: dict) -> float:
    """Mean held-out accuracy at the end."""
    return statistics.mean(run["after"] for run in runs.values())


def cells(runs: dict) -> str:
    """Mean, spread and number of seeds as cells of a table."""
    after = [run["after"] for run in runs.values()]
    spread = f"{100 * min(after):.1f} to {100 * max(after):.1f}"
    return f"{percent(mean(runs))} ({spread}) | {len(after)}"


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.1f} %"


def write_table(results: dict) -> None:
    """Put the tables between their marks in configs/README.md."""
    put_between(README, BEGIN, END, table(results))


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prepare", action="store_true", help="make the start and the teacher, no more"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="methods to train (default: all)"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="seeds of each method (default: 3)"
    )
    options = parser.parse_args()
    chosen = options.only or names()
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        parser.error(f"no config in {CONFIGS} for {', '.join(unknown)}")
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"methods": {}}
    results = {**prepare(), "methods": old["methods"]}
    if options.prepare:
        return
    jobs = [(name, seed) for seed in range(options.seeds) for name in chosen]
    train_all(jobs, results)
    write_table(results)


if __name__ == "__main__":
    main()
