"""MiniLLM on sums: reverse KL along the answer.

Paper: Gu et al., 2023, arXiv:2306.08543.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/minillm.py

Hardware: 2 CPU cores, about a minute.
Expected: row `minillm` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.opd import config as parent
from jaxrl.methods.minillm import MiniLlm

config = dataclasses.replace(parent, name="minillm", method=MiniLlm(top_k=8))
