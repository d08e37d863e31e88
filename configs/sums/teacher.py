"""The teacher on sums: GRPO for longer and on all problems.

Paper: Shao et al., 2024, DeepSeekMath, arXiv:2402.03300.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/teacher.py

Hardware: 2 CPU cores, about a minute.
Expected: row `teacher` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from configs.sums.warmup import TRAIN
from jaxrl.config import Rollouts

assert isinstance(parent.data, Rollouts)
config = dataclasses.replace(
    parent,
    name="teacher",
    data=dataclasses.replace(parent.data, problems=TRAIN),
    steps=150,
)
