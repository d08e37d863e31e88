"""Sequence-level distillation on sums: likelihood of what the teacher says.

Paper: Kim and Rush, 2016, arXiv:1606.07947.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/seq_kd.py

Hardware: 2 CPU cores, about a minute.
Expected: row `seq_kd` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.opd import config as parent
from jaxrl.config import Rollouts
from jaxrl.methods.seq_kd import SeqKd

assert isinstance(parent.data, Rollouts)
config = dataclasses.replace(
    parent,
    name="seq_kd",
    method=SeqKd(),
    data=dataclasses.replace(parent.data, teacher_share=1.0),
)
