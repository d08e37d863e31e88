"""GKD on sums: Jensen-Shannon divergence, half of the samples the teacher's.

Paper: Agarwal et al., 2024, arXiv:2306.13649; lambda and beta are 0.5.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/gkd.py

Hardware: 2 CPU cores, about a minute.
Expected: row `gkd` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.opd import config as parent
from jaxrl.config import Rollouts
from jaxrl.methods.gkd import Gkd

assert isinstance(parent.data, Rollouts)
config = dataclasses.replace(
    parent,
    name="gkd",
    method=Gkd(top_k=8),
    data=dataclasses.replace(parent.data, teacher_share=0.5),
)
