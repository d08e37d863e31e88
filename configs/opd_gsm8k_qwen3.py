"""On-policy distillation on GSM8K-format questions, from a larger Qwen3 or a server.

Paper: Lu et al., 2025, On-Policy Distillation (thinkingmachines.ai/blog).

    export MODEL_DIR=checkpoints/Qwen3-0.6B  # config.json, *.safetensors, tokenizer
    export GSM8K_DIR=data/gsm8k              # train.jsonl and test.jsonl, as published
    export TEACHER_DIR=checkpoints/Qwen3-8B  # a second checkpoint of the same tokens
    jaxrl train configs/opd_gsm8k_qwen3.py

    vllm serve checkpoints/Qwen3-8B          # or a teacher on another machine
    export TEACHER_URL=http://localhost:8000/v1 TEACHER_MODEL=checkpoints/Qwen3-8B
    jaxrl train configs/opd_gsm8k_qwen3.py

Hardware: sized for one accelerator with 80 GB; not measured here.
Expected: not measured here (see configs/README.md).
"""

import dataclasses
import os
from pathlib import Path

from configs.grpo_gsm8k_qwen3 import config as parent
from jaxrl.config import ModelConfig
from jaxrl.methods.opd import Opd
from jaxrl.rollout.client import ServedTeacher


def taught(model: ModelConfig) -> ModelConfig:
    """The model with the teacher that the environment names."""
    url = os.environ.get("TEACHER_URL")
    if url is None:
        path = Path(os.environ.get("TEACHER_DIR", "checkpoints/Qwen3-8B"))
        return dataclasses.replace(model, teacher_path=path)
    # What `vllm serve` calls a model unless told otherwise is its path.
    name = os.environ.get("TEACHER_MODEL", "checkpoints/Qwen3-8B")
    return dataclasses.replace(model, teacher_server=ServedTeacher(url, name))


config = dataclasses.replace(
    parent,
    name="opd_gsm8k_qwen3",
    method=Opd(),
    model=taught(parent.model),
    optimizer=dataclasses.replace(parent.optimizer, learning_rate=5e-6),
)
