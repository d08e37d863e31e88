"""Compare Dual-Track GRPO, in two variants, with GRPO on unseen schemas.

    python benchmarks/trust_sql.py --prepare      # schemas, and the warmed-up start
    python benchmarks/trust_sql.py --seeds 0 1 2  # all runs, one after another

Every run samples the same number of episodes from the same start. Afterwards it plays
questions about schemas that no part of training contained, once greedily and once as it
samples. Finished runs in runs/trust_sql are kept; remove it to begin anew. What was
measured goes to benchmarks/results/trust_sql.json; the table in configs/README.md is
written anew from it.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.report import put_between  # noqa: E402
from benchmarks.seeds import spread, trained  # noqa: E402
from jaxrl.data.sources import problems  # noqa: E402
from jaxrl.overrides import load  # noqa: E402
from jaxrl.playing import play  # noqa: E402
from jaxrl.quickstart import write_policy  # noqa: E402
from jaxrl.small.sql import ARCHITECTURE, small_tokenizer  # noqa: E402
from jaxrl.tasks.sql.small import write_small  # noqa: E402

RUNS = Path("runs/trust_sql")
RESULTS = ROOT / "benchmarks" / "results" / "trust_sql.json"
README = ROOT / "configs" / "README.md"
BEGIN, END = "<!-- trust_sql: begin -->", "<!-- trust_sql: end -->"

START = "trust_sql_warmup"
CONFIGS = ("trust_sql_grpo", "trust_sql", "trust_sql_added")
EVERY = 2
"""One in so many held-out questions is asked."""


def prepare() -> dict:
    """Make what is missing of schemas and start; say how good the start is."""
    if not (RUNS / "schemas").exists():
        write_small(RUNS / "schemas", seed=0)
    if not (RUNS / "policy").exists():
        write_policy(RUNS / "policy", ARCHITECTURE, small_tokenizer(), seed=0)
    return measured(trained(RUNS, START, START, 0))


def measured(run: Path) -> dict:
    """What a run's policy reaches on unseen schemas, greedily and as it samples."""
    config = load(ROOT / "configs" / "trust_sql.py")
    asked = problems(RUNS / "schemas" / "held_out.jsonl")[::EVERY]
    found = {}
    for name, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        episodes = play(config, run, asked, temperature=temperature)
        found[name] = {
            "right": mean(episode.numbers["answers_right"] for episode in episodes),
            "schema": mean(episode.traces[0].rewards[1] for episode in episodes),
        }
    return found


def table(results: dict) -> str:
    """The results in Markdown."""
    lines = [
        "| config | right answers, greedy | sampled | right schema too, sampled | "
        "seeds |",
        "|---|---|---|---|---|",
    ]
    rows = {START: {"0": results["start"]}, **results["runs"]}
    for name, runs in rows.items():
        cells = [
            spread([run[how][number] for run in runs.values()])
            for how, number in (
                ("greedy", "right"),
                ("sampled", "right"),
                ("sampled", "schema"),
            )
        ]
        lines.append(f"| `{name}.py` | {' | '.join(cells)} | {len(runs)} |")
    return "\n".join(lines)


def write(results: dict) -> None:
    """Keep the results, and put the table between its marks in configs/README.md."""
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    put_between(README, BEGIN, END, table(results))


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prepare", action="store_true", help="make schemas and the start, no more"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    start = prepare()
    if options.prepare:
        return
    results = {"start": start, "runs": {name: {} for name in CONFIGS}}
    for seed in options.seeds:
        for name in CONFIGS:
            found = measured(trained(RUNS, name, f"{name}-{seed}", seed))
            results["runs"][name][str(seed)] = found
            write(results)
            print(f"{name}, seed {seed}: {found}", flush=True)


if __name__ == "__main__":
    main()
