"""The held-out sums behind a colon: how good the start is where it is careful."""

import dataclasses

from configs.sums.warmup import HELD_OUT, careful
from configs.sums.warmup import config as parent

config = dataclasses.replace(
    parent,
    name="sums_in_context",
    evaluation=dataclasses.replace(
        parent.evaluation, problems=[careful(problem) for problem in HELD_OUT]
    ),
)
