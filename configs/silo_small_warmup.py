"""The start of a small team of Silo-Bench: imitating agents that often slip.

Paper: none. The demonstrations are whole conversations of agents who vote or look for
an alarm. Three of five submit what they found and tell nobody, some tell it and don't
listen, some misread what they hold.

    python benchmarks/silo_team.py --prepare   # a random policy, and this
    jaxrl train configs/silo_small_warmup.py

Hardware: 2 CPU cores.
Expected: see configs/README.md.
"""

from pathlib import Path

from jaxrl.config import (
    CheckpointConfig,
    Demonstrations,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
)
from jaxrl.methods.sft import Sft
from jaxrl.tasks.silo.small import demonstrations

RUNS = Path("runs/silo_small")

config = RunConfig(
    name="silo_small_warmup",
    data=Demonstrations([*demonstrations(400, seed=0)], batch_size=64),
    method=Sft(),
    model=ModelConfig(path=RUNS / "policy"),
    optimizer=OptimizerConfig(
        learning_rate=2e-3, schedule="cosine", warmup_steps=20, b2=0.99
    ),
    checkpoint=CheckpointConfig(every=0),
    logging=LoggingConfig(transcripts=0),
    steps=300,
    output=RUNS,
)
