"""The slope table of policy_opt 5.1: old probability 0.2, ratios in the first row."""

import jax.numpy as jnp
import numpy as np

RATIO = np.array([[0.25, 0.5, 0.9, 1.0, 1.1, 1.5, 4.0]], np.float32)
OLD = jnp.full(RATIO.shape, jnp.log(0.2))
LOGP = jnp.log(0.2 * jnp.asarray(RATIO))
MASK = jnp.ones(RATIO.shape, bool)


def slopes(surrogate, sign):
    """The slopes of the seven ratios, for one sign of the advantage."""
    return surrogate(LOGP, OLD, jnp.full(RATIO.shape, float(sign)), MASK).slope[0]
