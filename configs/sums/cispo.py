"""CISPO on sums: clipped weights, gradients kept.

Paper: MiniMax, 2025, arXiv:2506.13585.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/cispo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `cispo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.cispo import Cispo

config = dataclasses.replace(parent, name="cispo", method=Cispo())
