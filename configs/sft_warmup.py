"""Supervised warm-up on worked solutions, before reinforcement learning.

Paper: none; next-token cross-entropy on the responses alone. Here on the solutions that
GSM8K publishes, so that GRPO starts from a policy that ends with `#### number`.

    export MODEL_DIR=checkpoints/Qwen3-0.6B  # config.json, *.safetensors, tokenizer
    export GSM8K_DIR=data/gsm8k              # train.jsonl and test.jsonl, as published
    jaxrl train configs/sft_warmup.py
    jaxrl export runs/sft_warmup checkpoints/warm
    jaxrl train configs/grpo_gsm8k_qwen3.py --model.path checkpoints/warm

Hardware: sized for one accelerator with 80 GB; not measured here.
Expected: not measured here (see configs/README.md).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from configs.grpo_gsm8k_qwen3 import GSM8K, chat
from configs.grpo_gsm8k_qwen3 import config as parent
from jaxrl.config import Demonstrations, OptimizerConfig
from jaxrl.data.sources import demonstrations
from jaxrl.methods.sft import Sft
from jaxrl.rollout.types import Problem


def solutions(path: Path) -> Path | Sequence[Problem]:
    """The file's solutions to imitate; a missing file is left for the checks."""
    if not path.is_file():
        return path
    return [chat(problem) for problem in demonstrations(path)]


config = dataclasses.replace(
    parent,
    name="sft_warmup",
    data=Demonstrations(solutions(GSM8K / "train.jsonl"), batch_size=32),
    method=Sft(),
    optimizer=OptimizerConfig(
        learning_rate=1e-5, schedule="cosine", warmup_steps=10, micro_batches=4
    ),
    steps=230,  # about one epoch of 7,473 examples
)
