"""GSPO on sums: the ratio of the sequence is clipped.

Paper: Zheng et al., 2025, arXiv:2507.18071.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/gspo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `gspo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.gspo import Gspo

config = dataclasses.replace(parent, name="gspo", method=Gspo())
