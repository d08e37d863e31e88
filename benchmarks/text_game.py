"""GiGPO and GRPO on generated text games: what they start from, and who wins more.

    python benchmarks/text_game.py --prepare          # games and a policy, 2 minutes
    python benchmarks/text_game.py --seeds 0 1 2      # both methods

Both play equally many episodes. The policy begins as one that says the number of any
command, whatever it reads: supervised learning on replies that were drawn at random.
What was measured goes to benchmarks/results/text_game.json.
"""

import argparse
import dataclasses
import json
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

from configs import text_game, text_game_grpo  # noqa: E402  found from anywhere
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
from jaxrl.rollout.types import SEAT, Problem  # noqa: E402
from jaxrl.tasks.adapters.textworld import write_games  # noqa: E402
from jaxrl.train import train  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "text_game.json"
CONFIGS = {"gigpo": text_game.config, "grpo": text_game_grpo.config}
SPECIAL = ("<pad>", "<eos>", "<unk>")
COMMAND = re.compile(r"^(\d+) ", re.MULTILINE)
EPISODES = 12
LAST = 10
"""Steps over which the share of quests that are won is averaged."""


def played_at_random(seed: int) -> Iterator[Problem]:
    """States that random commands lead to, with the number of any of their commands."""
    rng = random.Random(seed)
    for problem in text_game.GAMES * EPISODES:
        game = text_game.TEXT_WORLD(problem)
        seen = game.reset()[SEAT]
        for turn in range(text_game.TURNS):
            number = rng.choice(COMMAND.findall(seen.text))
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
    """Write games, a random policy, and the policy that says any command's number."""
    folder = text_game.FOLDER
    write_games(text_game.GAMES, text_game.SIZE)
    demonstrations = [*played_at_random(seed=0)]
    tokenizer = word_tokenizer([str(problem.prompt) for problem in demonstrations])
    architecture = dataclasses.replace(
        quickstart.ARCHITECTURE,
        vocab_size=-(-len(tokenizer) // 8) * 8,
        hidden_size=64,
        num_layers=2,
        head_dim=16,
        mlp_size=128,
        max_positions=256,
    )
    quickstart.write_policy(folder / "policy", architecture, tokenizer, seed=0)
    shutil.rmtree(folder / "warmup", ignore_errors=True)
    warmup = RunConfig(
        name="warmup",
        data=Demonstrations(demonstrations, batch_size=32),
        method=Sft(),
        model=ModelConfig(path=folder / "policy"),
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=5),
        checkpoint=CheckpointConfig(every=0),
        logging=LoggingConfig(transcripts=0, progress=False),
        steps=60,
        output=folder,
    )
    train(warmup)


def measured(name: str, seed: int, steps: int) -> dict[str, float]:
    """Train one method, and say how many quests it wins at first and at last."""
    config = dataclasses.replace(
        CONFIGS[name],
        name=f"{name}-{seed}",
        seed=seed,
        steps=steps,
        checkpoint=CheckpointConfig(every=0),
        logging=LoggingConfig(progress=False),
    )
    shutil.rmtree(config.directory, ignore_errors=True)
    rows = read_lines(train(config).directory / "metrics.jsonl")
    episodes = config.data.prompts_per_step * config.data.samples_per_prompt
    won = [row["won"] for row in rows]
    return {
        "first": statistics.mean(won[:LAST]),
        "last": statistics.mean(won[-LAST:]),
        "environment_steps": sum(row["turns"] for row in rows) * episodes,
        "invalid_last": statistics.mean(r["invalid_actions"] for r in rows[-LAST:]),
    }


def main() -> None:
    """Prepare, or train both methods with some seeds and print what each reached."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--prepare", action="store_true")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--steps", type=int, default=text_game.config.steps)
    given = arguments.parse_args()
    if given.prepare:
        prepare()
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for seed in given.seeds:
        for name in CONFIGS:
            found = measured(name, seed, given.steps) | {"steps": given.steps}
            results.setdefault(name, {})[str(seed)] = found
            RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
            print(f"{name:<6} seed {seed}: {found}", flush=True)


if __name__ == "__main__":
    main()
