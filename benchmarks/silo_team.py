"""Train a small team of Silo-Bench, several seeds, and ask how it solves new instances.

    python benchmarks/silo_team.py --prepare      # the start
    python benchmarks/silo_team.py --seeds 0 1 2  # all runs, one after another

Every run begins from the same warmed-up policy. Afterwards it plays instances that no
part of training contained, once greedily and once as it samples. Finished runs in
runs/silo_small are kept; remove it to begin anew. What was measured goes to
benchmarks/results/silo_team.json; the table in configs/README.md is written anew from
it.
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
from jaxrl.overrides import load  # noqa: E402
from jaxrl.playing import play  # noqa: E402
from jaxrl.quickstart import write_policy  # noqa: E402
from jaxrl.small.silo import ARCHITECTURE, small_tokenizer  # noqa: E402
from jaxrl.tasks.silo.instances import MENDED  # noqa: E402
from jaxrl.tasks.silo.small import HELD_OUT, TRADES  # noqa: E402
from jaxrl.tasks.silo.training import problems  # noqa: E402

RUNS = Path("runs/silo_small")
RESULTS = ROOT / "benchmarks" / "results" / "silo_team.json"
README = ROOT / "configs" / "README.md"
BEGIN, END = "<!-- silo_team: begin -->", "<!-- silo_team: end -->"

START, CONFIG = "silo_small_warmup", "silo_small"
INSTANCES = 128
"""Of each task, to be played afterwards."""


def prepare() -> dict:
    """Make the start, unless it is there; say how good it is."""
    if not (RUNS / "policy").exists():
        write_policy(RUNS / "policy", ARCHITECTURE, small_tokenizer(), seed=0)
    return measured(trained(RUNS, START, START, 0))


def measured(run: Path) -> dict:
    """What a run's team reaches on new instances, greedily and as it samples.

    Of each task: `right`, the share of agents with the right answer, `all_right`, the
    share of teams in which all have it, and `messages` of a team.
    """
    config = load(ROOT / "configs" / f"{CONFIG}.py")
    found = {}
    for how, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        found[how] = {}
        for task in TRADES:
            asked = problems([task], INSTANCES, seed=HELD_OUT)
            episodes = play(config, run, asked, temperature=temperature)
            found[how][task] = {
                "right": mean(episode.traces[0].rewards[0] for episode in episodes),
                "all_right": mean(episode.numbers["success"] for episode in episodes),
                "messages": mean(episode.numbers["messages"] for episode in episodes),
            }
    return found


def table(results: dict) -> str:
    """The results in Markdown."""
    lines = [
        "| task | config | right answers, greedy | sampled | teams all right, greedy | "
        "sampled | messages of a team | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = {START: {"0": results["start"]}, CONFIG: results["runs"]}
    for task in TRADES:
        for name, runs in rows.items():
            cells = [
                spread([run[how][task][number] for run in runs.values()])
                for number in ("right", "all_right")
                for how in ("greedy", "sampled")
            ]
            told = mean(run["sampled"][task]["messages"] for run in runs.values())
            shown = f"{task} {MENDED[task].name} | `{name}.py` | {' | '.join(cells)}"
            lines.append(f"| {shown} | {told:.1f} | {len(runs)} |")
    return "\n".join(lines)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prepare", action="store_true", help="make the start, no more"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    results = {"start": prepare(), "runs": {}}
    if options.prepare:
        return
    for seed in options.seeds:
        found = measured(trained(RUNS, CONFIG, f"{CONFIG}-{seed}", seed))
        results["runs"][str(seed)] = found
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        put_between(README, BEGIN, END, table(results))
        print(f"seed {seed}: {found}", flush=True)


if __name__ == "__main__":
    main()
