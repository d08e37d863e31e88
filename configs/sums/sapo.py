"""SAPO on sums: a soft gate on both sides.

Paper: Gao et al., 2025, arXiv:2511.20347.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/sapo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `sapo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.sapo import Sapo

config = dataclasses.replace(parent, name="sapo", method=Sapo())
