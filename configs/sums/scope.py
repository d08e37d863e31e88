"""SCOPE on sums: imitate right answers, let the teacher correct wrong ones.

Paper: SCOPE, 2026, arXiv:2604.10688; the release's preset.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/scope.py

Hardware: 2 CPU cores, about a minute.
Expected: row `scope` of the table in configs/README.md.
"""

import dataclasses

from configs.sums.opd import config as parent
from jaxrl.methods.scope import Scope

config = dataclasses.replace(parent, name="scope", method=Scope())
