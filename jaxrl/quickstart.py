"""The main job on a laptop: a small policy learns sums, first by example, then by RL.

The demonstrations of the warm-up are of mixed quality: two of three slip in a column.
So the warmed-up policy knows how a sum is worked out and usually slips, as it was
shown. GRPO sees no demonstration, only whether a final answer is right, and has to find
out which of its habits pay.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from jaxrl.config import (
    CheckpointConfig,
    Demonstrations,
    EvaluationConfig,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    Rollouts,
    RunConfig,
)
from jaxrl.methods.grpo import Grpo
from jaxrl.methods.sft import Sft
from jaxrl.overrides import override
from jaxrl.report import plot, write_summary
from jaxrl.rollout.types import Problem
from jaxrl.tasks.arithmetic import (
    arithmetic_reward,
    demonstrations,
    sums,
    worked_columns,
)
from jaxrl.train import train
from models.config import DecoderConfig, Rope
from models.decoder import language_model
from models.huggingface import save

OUTPUT = Path("runs/quickstart")
CHARACTERS = "0123456789+=,:"
PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"

# "99+99=" and its longest solution, "9+9=18,9+9+1=19:198" with the end of sequence.
PROMPT_TOKENS, SOLUTION_TOKENS = 6, 24

ARCHITECTURE = DecoderConfig(
    vocab_size=32,
    hidden_size=128,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    mlp_size=384,
    rope=Rope(theta=10_000.0),
    qk_norm=True,
    tie_embeddings=True,
    max_positions=64,
)
"""A Qwen3 of half a million parameters."""


def main(words: Sequence[str] = ()) -> None:
    """Run the whole quickstart and print what came of it.

    Args:
      words: Overrides of the GRPO config; `--seed` and `--output` also move the rest.
    """
    started = time.monotonic()
    prog = "jaxrl quickstart"
    wish = override(grpo_config(OUTPUT, 0), words, prog=prog)
    directory, seed = unused(wish.output), wish.seed
    config = override(grpo_config(directory, seed), words, prog=prog)
    config = dataclasses.replace(config, output=directory)
    print(f"1/3  a policy of {ARCHITECTURE.num_layers} layers, random: {directory}")
    policy = directory / "policy"
    write_policy(policy, ARCHITECTURE, character_tokenizer(), seed=seed)
    print("2/3  warm-up on demonstrations, of which one in three is right")
    warmup = train(warmup_config(directory, seed))
    print("3/3  GRPO with a verifiable reward: is the final answer right?")
    grpo = train(config)
    accuracy = {
        "initial": warmup.accuracy_before,
        "warmup": grpo.accuracy_before,
        "final": grpo.accuracy_after,
    }
    seconds = time.monotonic() - started
    summary = {"heldout_accuracy": accuracy, "seconds": seconds, "seed": seed}
    write_summary(directory / "summary.json", summary)
    baselines = {"after warm-up": accuracy["warmup"] or 0.0}
    metrics, picture = grpo.directory / "metrics.jsonl", directory / "curves.png"
    plot(metrics, picture, title="Quickstart: GRPO on sums", baselines=baselines)
    print(closing_words(directory, grpo.directory, accuracy, seconds))


def closing_words(
    directory: Path, run: Path, accuracy: dict[str, float | None], seconds: float
) -> str:
    """What the reader of the terminal should know at the end."""
    percent = {name: f"{100 * (value or 0):5.1f} %" for name, value in accuracy.items()}
    return f"""
Held-out accuracy, greedy, on sums that training never contained:
  random policy    {percent["initial"]}
  after warm-up    {percent["warmup"]}
  after GRPO       {percent["final"]}
in {seconds:.0f} s.

Written:
  {directory / "curves.png"}   reward, accuracy, gap, response length
  {run / "transcripts.md"}   what the policy said
  {run / "model"}   a Hugging Face directory
  {directory / "summary.json"}

Try next:
  jaxrl sample {run / "model"} --prompt 37+85= --temperature 0
  jaxrl quickstart --seed 1 --method.clip-high 0.28
  jaxrl train configs/grpo_gsm8k_qwen3.py --help"""


def unused(wish: Path) -> Path:
    """`wish`, or `wish-2` and so on if it exists: a run is never written over."""
    names = itertools.chain([wish], (Path(f"{wish}-{i}") for i in itertools.count(2)))
    return next(path for path in names if not path.exists())


@functools.cache
def problems(seed: int) -> tuple[list[Problem], list[Problem]]:
    """Sums of two-digit numbers to train on, and others to evaluate on."""
    return sums(digits=2, train=3_500, held_out=256, seed=seed)


def warmup_config(directory: Path, seed: int) -> RunConfig:
    """Supervised learning on demonstrations of which a third are right."""
    train_problems, held_out = problems(seed)
    written = demonstrations(
        train_problems, correct=0.35, seed=seed, solution=worked_columns
    )
    return RunConfig(
        name="warmup",
        data=Demonstrations(written, batch_size=64),
        method=Sft(),
        model=ModelConfig(path=directory / "policy"),
        optimizer=OptimizerConfig(
            learning_rate=2e-3, schedule="cosine", warmup_steps=20, b2=0.99
        ),
        evaluation=EvaluationConfig(
            problems=held_out,
            reward=arithmetic_reward,
            max_new_tokens=SOLUTION_TOKENS,
        ),
        checkpoint=CheckpointConfig(every=0),
        logging=LoggingConfig(transcripts=0),
        steps=400,
        seed=seed,
        output=directory,
    )


def grpo_config(directory: Path, seed: int) -> RunConfig:
    """GRPO from the warmed-up policy, with a reward that checks the final answer."""
    train_problems, held_out = problems(seed)
    return RunConfig(
        name="grpo",
        data=Rollouts(
            train_problems,
            reward=arithmetic_reward,
            prompts_per_step=32,
            samples_per_prompt=8,
            max_prompt_tokens=PROMPT_TOKENS,
            max_new_tokens=SOLUTION_TOKENS,
        ),
        method=Grpo(),
        model=ModelConfig(path=directory / "warmup" / "model"),
        optimizer=OptimizerConfig(
            learning_rate=1.5e-4, schedule="linear", warmup_steps=5, b2=0.99
        ),
        evaluation=EvaluationConfig(problems=held_out, every=20),
        checkpoint=CheckpointConfig(every=20),
        steps=100,
        seed=seed,
        output=directory,
    )


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each character of a worked sum."""
    words = [PAD, EOS, UNKNOWN, *CHARACTERS]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN
    )


def write_policy(
    path: Path,
    architecture: DecoderConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
) -> None:
    """Write a randomly initialised policy as a Hugging Face directory.

    Args:
      path: The directory.
      architecture: With a vocabulary that holds the tokenizer's.
      tokenizer: Saved beside it.
      seed: Of the parameters.
    """
    params = jax.jit(language_model(architecture).init)(jax.random.key(seed))
    save(path, architecture, params, tokenizer)
