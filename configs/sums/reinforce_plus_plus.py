"""REINFORCE++ on sums: neither groups nor critic.

Paper: Hu et al., 2025, arXiv:2501.03262.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/reinforce_plus_plus.py

Hardware: 2 CPU cores, about a minute.
Expected: row `reinforce_plus_plus` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.reinforce_plus_plus import ReinforcePlusPlus

config = dataclasses.replace(
    parent, name="reinforce_plus_plus", method=ReinforcePlusPlus()
)
