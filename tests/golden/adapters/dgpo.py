"""The DGPO release, and PPO in the same file."""

from functools import partial

import jax.numpy as jnp

from jaxrl.surrogates.clipping import dual_clipped
from jaxrl.surrogates.decay import dgpo
from tests.golden.verl import regions, surrogate_loss, trust_of, weights_of


def by_regions(hp, inputs, surrogate):
    """This fork counts rows without tokens, and records what it did where."""
    weights = weights_of(hp, inputs["mask"], empty_rows_count=True)
    if hp["loss_agg_mode"] == "seq-mean-token-sum-norm":
        weights = weights / len(weights)
    kappa = trust_of(surrogate, inputs).value
    return {
        **surrogate_loss(surrogate, inputs, weights),
        **regions(hp, inputs),
        "kappa": jnp.where(inputs["mask"] != 0, kappa, 0.0),
    }


def decayed(hp, inputs):
    surrogate = partial(
        dgpo,
        low=hp["cliprange_low"],
        high=hp["cliprange_high"],
        left_order=hp["dgpo_n"],
        right_order=hp["dgpo_m"],
    )
    return by_regions(hp, inputs, surrogate)


def ppo_surrogate(hp):
    return partial(
        dual_clipped,
        low=hp["cliprange_low"],
        high=hp["cliprange_high"],
        cap=hp["clip_ratio_c"],
    )


def ppo(hp, inputs):
    return by_regions(hp, inputs, ppo_surrogate(hp))


ADAPTERS = {"dgpo": decayed, "ppo_region_form": ppo}
