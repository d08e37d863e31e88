"""GMPO on sums: geometric mean of clipped ratios.

Paper: Zhao et al., 2025, arXiv:2507.20673.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/gmpo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `gmpo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.gmpo import Gmpo

config = dataclasses.replace(parent, name="gmpo", method=Gmpo())
