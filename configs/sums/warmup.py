"""The start of all methods on sums: supervised learning on mixed demonstrations.

Paper: none. Every sum is shown once as it is, with a slip in two of three solutions,
and every other sum once more behind a colon, always solved right. So the policy usually
slips, and does not where it is asked to be careful: with the colon it is a teacher for
context distillation.

    python benchmarks/methods.py --prepare      # writes runs/sums/policy, runs this

Hardware: 2 CPU cores, about a minute.
Expected: held-out accuracy of 47 %, of 99 % behind a colon (configs/README.md).
"""

import dataclasses
from pathlib import Path

from jaxrl.config import Demonstrations
from jaxrl.quickstart import problems, warmup_config
from jaxrl.rollout.types import Problem
from jaxrl.tasks.arithmetic import demonstrations, worked_columns

SUMS = Path("runs/sums")
TRAIN, HELD_OUT = problems(0)


def careful(problem: Problem) -> Problem:
    """The same sum, in the context in which the policy was shown no slips."""
    name, prompt = f":{problem.id}", f":{problem.prompt}"
    return dataclasses.replace(problem, id=name, prompt=prompt)


SLIPPING = demonstrations(TRAIN, correct=0.35, seed=0, solution=worked_columns)
RIGHT = demonstrations(TRAIN, correct=1.0, seed=0, solution=worked_columns)
MIXED = [*SLIPPING, *map(careful, RIGHT[: len(RIGHT) // 2])]

config = dataclasses.replace(
    warmup_config(SUMS, seed=0),
    name="warmup",
    data=Demonstrations(MIXED, batch_size=64),
)
