"""GiGPO and GRPO on generated text games: what they start from, and who wins more.

    python benchmarks/text_game.py --prepare      # games, and the warmed-up start
    python benchmarks/text_game.py --seeds 0 1 2  # all runs, one after another

Both play equally many episodes, and are compared after equally many steps of the
environment. The policy begins as one that says the number of any command, and seldom of
one that helps. Finished runs in runs/text_game are kept; remove it to begin anew. What
was measured goes to benchmarks/results/text_game.json; the table in configs/README.md
is written anew from it.
"""

import argparse
import bisect
import dataclasses
import itertools
import json
import os
import random
import re
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.report import put_between  # noqa: E402
from benchmarks.seeds import spread, trained  # noqa: E402
from configs import text_game  # noqa: E402
from jaxrl import quickstart  # noqa: E402
from jaxrl.config import (  # noqa: E402
    CheckpointConfig,
    Demonstrations,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
)
from jaxrl.methods.sft import Sft  # noqa: E402
from jaxrl.metrics import read_lines  # noqa: E402
from jaxrl.playing import play  # noqa: E402
from jaxrl.rollout.types import SEAT, Problem  # noqa: E402
from jaxrl.tasks.adapters.textworld import write_games  # noqa: E402
from jaxrl.train import train  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "text_game.json"
README = ROOT / "configs" / "README.md"
BEGIN, END = "<!-- text_game: begin -->", "<!-- text_game: end -->"
FOLDER = text_game.FOLDER
CONFIGS, PARTS = ("text_game_grpo", "text_game"), ("trained", "new")
SPECIAL = ("<pad>", "<eos>", "<unk>")
COMMAND = re.compile(r"^(\d+) (.*)$", re.MULTILINE)
EPISODES, RIGHT = 8, 0.1
"""For the start: episodes of each game, and how many of their commands are right."""
LAST = 10
"""Updates over which the share of games that are won is averaged."""
PLAYED = 4
"""Times that each game is played afterwards."""


def demonstrations(seed: int) -> Iterator[Problem]:
    """What agents see who often give any command, and the number that they say."""
    rng = random.Random(seed)
    for problem in text_game.GAMES * EPISODES:
        game = text_game.TEXT_WORLD(problem)
        seen = game.reset()[SEAT]
        for turn in range(text_game.TURNS):
            commands = dict(map(reversed, COMMAND.findall(seen.text)))
            number = rng.choice([*commands.values()])
            if rng.random() < RIGHT:
                number = commands.get(game.solution[0], number)
            shown = text_game.text([{"content": seen.text}], (), True)
            yield Problem(f"{problem.id} {turn} {rng.random()}", shown, number)
            seen = game.step({SEAT: number})[SEAT]
            if seen.over:
                break
        game.close()


def word_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """One token for each word and sign of some texts, in lower case."""
    normal, split = (
        normalizers.Lowercase(),
        pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True),
    )
    found = {
        word
        for text in texts
        for word, _ in split.pre_tokenize_str(normal.normalize_str(text))
    }
    words = [*SPECIAL, *sorted(found | {str(number) for number in range(1, 40)})]
    made = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    made.normalizer, made.pre_tokenizer = normal, split
    pad, eos, unknown = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, eos_token=eos, unk_token=unknown
    )


def prepare() -> None:
    """Make what is missing of games and start."""
    write_games([*text_game.GAMES, *text_game.HELD_OUT])
    if (FOLDER / "warmup" / "model").exists():
        return
    shown = [*demonstrations(seed=0)]
    tokenizer = word_tokenizer([str(problem.prompt) for problem in shown])
    architecture = dataclasses.replace(
        quickstart.ARCHITECTURE,
        vocab_size=-(-len(tokenizer) // 8) * 8,
        hidden_size=64,
        num_layers=2,
        head_dim=16,
        mlp_size=128,
        max_positions=256,
    )
    quickstart.write_policy(FOLDER / "policy", architecture, tokenizer, seed=0)
    shutil.rmtree(FOLDER / "warmup", ignore_errors=True)
    warmup = RunConfig(
        name="warmup",
        data=Demonstrations(shown, batch_size=32),
        method=Sft(),
        model=ModelConfig(path=FOLDER / "policy"),
        optimizer=OptimizerConfig(
            learning_rate=2e-3, schedule="cosine", warmup_steps=20, b2=0.99
        ),
        checkpoint=CheckpointConfig(every=0),
        logging=LoggingConfig(transcripts=0, progress=False),
        steps=200,
        output=FOLDER,
    )
    train(warmup)


def measured(name: str, seed: int) -> dict:
    """Train with one method, unless it is done; returns what a run reached.

    `won` and `environment_steps` are of each step of training, the latter in total up
    to it; `played` are shares of games that its end wins as it samples.
    """
    run = trained(FOLDER, name, f"{name}-{seed}", seed)
    rows = read_lines(run / "metrics.jsonl")
    data = text_game.config.data
    episodes = data.prompts_per_step * data.samples_per_prompt
    turns = itertools.accumulate(row["turns"] * episodes for row in rows)
    return {
        "won": [row["won"] for row in rows],
        "environment_steps": [*turns],
        "played": played(run),
    }


def played(run: Path) -> dict[str, float]:
    """Shares of games won, of those that were trained on and of new ones."""
    return {
        part: statistics.mean(
            episode.numbers["won"]
            for episode in play(text_game.config, run, asked * PLAYED, temperature=1.0)
        )
        for part, asked in (("trained", text_game.GAMES), ("new", text_game.HELD_OUT))
    }


def table(results: dict) -> str:
    """The results in Markdown, where all runs have taken equally many steps."""
    runs = [run for name in CONFIGS for run in results["runs"][name].values()]
    steps = min(run["environment_steps"][-1] for run in runs)
    lines = [
        f"| config | won at first | won at {steps:,.0f} environment steps | played at "
        "the end: trained games | new games | seeds |",
        "|---|---|---|---|---|---|",
        f"| the start | | | {spread([results['start']['trained']])} | "
        f"{spread([results['start']['new']])} | 1 |",
    ]
    for name in CONFIGS:
        found = [*results["runs"][name].values()]
        cells = [
            spread([statistics.mean(run["won"][:LAST]) for run in found]),
            spread([won_at(run, steps) for run in found]),
            *(spread([run["played"][part] for run in found]) for part in PARTS),
        ]
        lines.append(f"| `{name}.py` | {' | '.join(cells)} | {len(found)} |")
    return "\n".join(lines)


def won_at(run: dict, steps: float) -> float:
    """Share of games won in the last updates before so many environment steps."""
    end = bisect.bisect_right(run["environment_steps"], steps)
    return statistics.mean(run["won"][max(0, end - LAST) : end])


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prepare", action="store_true", help="make games and the start, no more"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    prepare()
    if options.prepare:
        return
    results = {"start": played(FOLDER / "warmup"), "runs": {n: {} for n in CONFIGS}}
    for seed in options.seeds:
        for name in CONFIGS:
            results["runs"][name][str(seed)] = measured(name, seed)
            print(
                f"{name}, seed {seed}: {results['runs'][name][str(seed)]}", flush=True
            )
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        put_between(README, BEGIN, END, table(results))


if __name__ == "__main__":
    main()
