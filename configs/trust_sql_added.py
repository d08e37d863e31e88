"""Dual-Track GRPO with one loss: the schema's credit is added to the answer's.

Paper: TRUST-SQL, 2026, arXiv:2603.16448; a variant of its release, not of the paper,
see `jaxrl.methods.added_track`.

    python benchmarks/trust_sql.py --prepare   # once: schemas and the start
    jaxrl train configs/trust_sql_added.py

Hardware: one CPU core; not measured here.
Expected: not measured here; `python benchmarks/trust_sql.py` compares it with
configs/trust_sql.py.
"""

import dataclasses

from configs.trust_sql import config as parent
from jaxrl.methods.added_track import AddedTrack

config = dataclasses.replace(parent, name="trust_sql_added", method=AddedTrack())
