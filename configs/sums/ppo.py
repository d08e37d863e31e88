"""PPO on sums, with a critic that starts from the policy.

Paper: Schulman et al., 2017, arXiv:1707.06347.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/ppo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `ppo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.methods.ppo import Ppo

config = dataclasses.replace(
    parent,
    name="ppo",
    method=Ppo(),
    optimizer=dataclasses.replace(parent.optimizer, critic_learning_rate=1e-3),
)
