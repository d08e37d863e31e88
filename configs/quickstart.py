"""GRPO on two-digit sums: the second half of `make quickstart`, to be varied.

Paper: Shao et al., 2024, DeepSeekMath, arXiv:2402.03300 (GRPO).

    make quickstart                       # writes runs/quickstart, warm-up included
    jaxrl train configs/quickstart.py --method.clip-high 0.28

Hardware: 2 CPU cores.
Expected: held-out accuracy from about 50 % to 98 % (configs/README.md).
"""

import dataclasses

from jaxrl.quickstart import OUTPUT, grpo_config

config = dataclasses.replace(grpo_config(OUTPUT, seed=0), name="quickstart")
