"""DGPO on sums: decaying weights on both sides of the trust region.

Paper: DGPO, 2026, arXiv:2603.14389.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/dgpo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `dgpo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.dgpo import Dgpo

config = dataclasses.replace(parent, name="dgpo", method=Dgpo())
