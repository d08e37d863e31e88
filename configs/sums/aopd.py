"""AOPD on sums: imitation where the teacher disagrees.

Paper: AOPD, 2026, arXiv:2605.06387; the release's preset.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/aopd.py

Hardware: 2 CPU cores, about a minute.
Expected: row `aopd` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.opd import config as parent
from jaxrl.methods.aopd import Aopd

config = dataclasses.replace(parent, name="aopd", method=Aopd(top_k=8))
