"""TRUST-SQL for a Qwen3 checkpoint, on BIRD or Spider as they are published.

Paper: TRUST-SQL, 2026, arXiv:2603.16448: Dual-Track GRPO over four phases. Differs from
it: no warm-up on demonstrations, no choice of questions by how often they are solved,
one data set instead of two, and shorter turns and conversations; see also
`jaxrl.tasks.sql.environment`. A tenth of the databases is held out.

    export MODEL_DIR=checkpoints/Qwen3-0.6B  # config.json, *.safetensors, tokenizer
    export BIRD_DIR=data/bird  # train.json, train_tables.json, train_databases/
    # or Spider, which goes first: train_spider.json, tables.json, database/
    export SPIDER_DIR=data/spider
    jaxrl train configs/trust_sql_qwen3.py

Hardware: sized for one accelerator with 80 GB; not measured here.
Expected: not measured here. `jaxrl.playing.play` plays HELD_OUT, questions about
databases that training never sees, before and after.
"""

import dataclasses
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from configs.grpo_gsm8k_qwen3 import config as parent
from jaxrl.config import EvaluationConfig, Rollouts
from jaxrl.methods.dual_track import DualTrackGrpo
from jaxrl.rollout.environment import Environment
from jaxrl.rollout.tool_calls import no_calls
from jaxrl.rollout.types import Problem
from jaxrl.tasks.sql.loader import read_bird, read_spider, split_by_schema
from jaxrl.tasks.sql.play import sql_task

BIRD = Path(os.environ.get("BIRD_DIR", "data/bird"))
SPIDER = os.environ.get("SPIDER_DIR")
TURNS = 10


def questions() -> tuple[Path | Sequence[Problem], Sequence[Problem]]:
    """Split the problems; a missing directory is left for the checks to report."""
    if not SPIDER and not BIRD.is_dir():
        return BIRD / "train.json", ()
    every = read_spider(SPIDER) if SPIDER else read_bird(BIRD, split="train")
    return split_by_schema(every, held_out=0.1, seed=0)


TRAIN, HELD_OUT = questions()

config = dataclasses.replace(
    parent,
    name="trust_sql_qwen3",
    data=Rollouts(
        TRAIN,
        prompts_per_step=32,
        samples_per_prompt=8,
        max_prompt_tokens=8192,
        max_new_tokens=1024,
        temperature=0.8,
        packed=True,
        environment=Environment(
            partial(sql_task, workers=8, max_turns=TURNS),
            reward_channels=2,
            # The protocol's own reader finds calls, and checks the form around them.
            parse=no_calls,
            max_turns=TURNS,
            concurrency=256,
            # Their keys and values are 34 GB of a Qwen3-0.6B.
            slots=32,
        ),
    ),
    method=DualTrackGrpo(),
    optimizer=dataclasses.replace(
        parent.optimizer, b2=0.98, weight_decay=0.1, micro_batches=64
    ),
    evaluation=EvaluationConfig(),
)
