"""DynaMO on sums: samples where outcomes vary, advantages modulated by entropy.

Paper: DynaMO, 2026, arXiv:2602.19208. Differs from the release: shares by one water
level, proportional to the standard deviation.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/dynamo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `dynamo` of the table in configs/README.md.
"""

import dataclasses
from functools import partial

from configs.sums.grpo import config as parent
from jaxrl.config import Rollouts
from jaxrl.methods.dynamo import DynaMo
from jaxrl.rollout.allocation import priority
from jaxrl.rollout.sharing import Allocation

assert isinstance(parent.data, Rollouts)
config = dataclasses.replace(
    parent,
    name="dynamo",
    method=DynaMo(),
    data=dataclasses.replace(
        parent.data,
        allocation=Allocation(
            # An epoch of 512 prompts is 16 steps.
            refresh_every=16,
            priority=partial(priority, power=0.5),
        ),
    ),
)
