"""Dr. GRPO on sums: no deviation, no length.

Paper: Liu et al., 2025, arXiv:2503.20783.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/dr_grpo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `dr_grpo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.dr_grpo import DrGrpo
from jaxrl.quickstart import SOLUTION_TOKENS

config = dataclasses.replace(
    parent, name="dr_grpo", method=DrGrpo(length=SOLUTION_TOKENS)
)
