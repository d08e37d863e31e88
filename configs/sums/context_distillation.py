"""On-policy context distillation on sums: careful without being asked to be.

Paper: OPCD, 2026, arXiv:2602.12275. The teacher is the start itself, which sees a colon
in front of the sum.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/context_distillation.py

Hardware: 2 CPU cores, about a minute.
Expected: row `context_distillation` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from configs.sums.warmup import careful
from jaxrl.config import Rollouts
from jaxrl.methods.context_distillation import ContextDistillation

assert isinstance(parent.data, Rollouts)
config = dataclasses.replace(
    parent,
    name="context_distillation",
    method=ContextDistillation(),
    data=dataclasses.replace(parent.data, other_context=careful),
)
