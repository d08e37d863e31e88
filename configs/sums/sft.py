"""Supervised learning on sums: worked solutions without slips.

Paper: none; next-token cross-entropy on the responses alone.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/sft.py

Hardware: 2 CPU cores, about a minute.
Expected: row `sft` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from configs.sums.warmup import RIGHT
from jaxrl.config import Demonstrations
from jaxrl.methods.sft import Sft
from jaxrl.quickstart import SOLUTION_TOKENS
from jaxrl.tasks.arithmetic import arithmetic_reward

config = dataclasses.replace(
    parent,
    name="sft",
    method=Sft(),
    # The problems of the other methods, and as many texts as they take samples.
    data=Demonstrations(RIGHT[:512], batch_size=256),
    evaluation=dataclasses.replace(
        parent.evaluation, reward=arithmetic_reward, max_new_tokens=SOLUTION_TOKENS
    ),
)
