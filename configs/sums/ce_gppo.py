"""CE-GPPO on sums: a scaled gradient beyond the clip.

Paper: Su et al., 2025, arXiv:2509.20712.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/ce_gppo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `ce_gppo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.ce_gppo import CeGppo

config = dataclasses.replace(parent, name="ce_gppo", method=CeGppo())
