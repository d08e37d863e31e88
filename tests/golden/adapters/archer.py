"""ASPO, from the release of Archer 2.0."""

from functools import partial

import jax.numpy as jnp

from jaxrl.surrogates.flipped import aspo
from tests.golden.verl import surrogate_loss, weights_of


def flipped(hp, inputs):
    """Their names of the bounds are swapped; either sign has a cap of its own."""
    likely, good = ~inputs["high_entropy_mask"], inputs["advantages"] >= 0
    low = jnp.where(
        likely,
        hp["negative_high_entropy_clip_ratio_low"],
        hp["negative_low_entropy_clip_ratio_low"],
    )
    high = jnp.where(
        likely,
        hp["positive_high_entropy_clip_ratio_high"],
        hp["positive_low_entropy_clip_ratio_high"],
    )
    dtype = inputs["log_prob"].dtype
    cap = jnp.where(good, hp["positive_clip_ratio_c"], hp["negative_clip_ratio_c"])
    surrogate = partial(
        aspo, low=low.astype(dtype), high=high.astype(dtype), cap=cap.astype(dtype)
    )
    weights = weights_of(hp, inputs["mask"], empty_rows_count=True)
    return surrogate_loss(surrogate, inputs, weights)


ADAPTERS = {"archer_policy_loss": flipped}
