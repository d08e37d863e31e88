"""MASPO on sums: a Gaussian gate, wide for rare tokens.

Paper: MASPO, 2026, arXiv:2602.17550.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/maspo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `maspo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.maspo import Maspo

config = dataclasses.replace(parent, name="maspo", method=Maspo())
