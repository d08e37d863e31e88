"""On-policy distillation on sums; the parent of the methods with a teacher.

Paper: Lu et al., 2025, On-Policy Distillation (thinkingmachines.ai/blog).

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/opd.py

Hardware: 2 CPU cores, about a minute.
Expected: row `opd` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from configs.sums.warmup import SUMS
from jaxrl.methods.opd import Opd

config = dataclasses.replace(
    parent,
    name="opd",
    method=Opd(),
    model=dataclasses.replace(parent.model, teacher_path=SUMS / "teacher" / "model"),
)
