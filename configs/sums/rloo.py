"""RLOO on sums: the mean of the others is the baseline.

Paper: Ahmadian et al., 2024, Back to Basics, arXiv:2402.14740.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/rloo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `rloo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.rloo import Rloo

config = dataclasses.replace(parent, name="rloo", method=Rloo())
