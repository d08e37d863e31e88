"""DPO on sums: the best sample of a prompt above its worst, on-policy.

Paper: Rafailov et al., 2023, arXiv:2305.18290. Differs from it: the pairs are the
policy's own samples, judged by the reward, as in online DPO (arXiv:2402.04792).

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/dpo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `dpo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.dpo import Dpo

config = dataclasses.replace(parent, name="dpo", method=Dpo())
