"""DAPO on sums: clip-higher, informative groups only, a penalty on length.

Paper: Yu et al., 2025, arXiv:2503.14476. Differs from it: groups without a
difference are masked out, and not sampled again.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/dapo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `dapo` of the table in configs/README.md.
"""

import dataclasses
from functools import partial

from configs.sums.grpo import config as parent
from jaxrl.config import Rollouts
from jaxrl.methods.dapo import Dapo
from jaxrl.quickstart import SOLUTION_TOKENS
from jaxrl.rollout.filtering import informative
from jaxrl.rollout.shaping import overlong

assert isinstance(parent.data, Rollouts)
config = dataclasses.replace(
    parent,
    name="dapo",
    method=Dapo(),
    data=dataclasses.replace(
        parent.data,
        filter=informative,
        length_penalty=partial(overlong, limit=SOLUTION_TOKENS, buffer=3),
    ),
)
