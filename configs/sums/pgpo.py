"""PGPO on sums: a score of the steps gates the reward of the answer.

Paper: V-tableR1, 2026, arXiv:2604.20755; the score is the share of right columns, and
no model judges it.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/pgpo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `pgpo` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.grpo import config as parent
from jaxrl.config import Rollouts
from jaxrl.methods.pgpo import Pgpo
from jaxrl.tasks.arithmetic import arithmetic_reward, columns_form, columns_right

assert isinstance(parent.data, Rollouts)
config = dataclasses.replace(
    parent,
    name="pgpo",
    method=Pgpo(),
    data=dataclasses.replace(
        parent.data, reward=(arithmetic_reward, columns_form, columns_right)
    ),
)
