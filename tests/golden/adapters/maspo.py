"""The MASPO release, and PPO in the same file."""

from functools import partial

import jax.numpy as jnp

from jaxrl.surrogates.clipping import importance
from jaxrl.surrogates.gates import maspo, maspo_width
from tests.golden.adapters.dgpo import ppo_surrogate
from tests.golden.verl import regions, surrogate_loss, trust_of, weights_of


def by_regions(hp, inputs, surrogate):
    """As in the DGPO release, but rows without tokens do not count."""
    kappa = trust_of(surrogate, inputs).value
    return {
        **surrogate_loss(surrogate, inputs, weights_of(hp, inputs["mask"])),
        **regions(hp, inputs),
        "kappa": jnp.where(inputs["mask"] != 0, kappa, 0.0),
    }


def gated(hp, inputs):
    shape = {
        "width": hp["maspo_sigma_base"],
        "mass_power": hp["maspo_alpha"],
        "widest": hp["maspo_sigma_high"],
        "positive_gain": hp["maspo_beta_pos"],
        "negative_gain": hp["maspo_beta_neg"],
        "gain_low": hp["maspo_adv_low"],
        "gain_high": hp["maspo_adv_high"],
    }
    mask, advantages = jnp.asarray(inputs["mask"], bool), inputs["advantages"]
    found = by_regions(hp, inputs, partial(maspo, **shape))
    ratio, _ = trust_of(importance, inputs)
    return {
        **found,
        "gate": jnp.where(mask, found["kappa"] / ratio, 0.0),
        "sigma_pos": widths(
            shape, inputs, mask, advantages > 0, 1 + gain(hp, "pos") * advantages
        ),
        "sigma_neg": widths(
            shape, inputs, mask, advantages < 0, 1 / (1 - gain(hp, "neg") * advantages)
        ),
    }


def gain(hp, side):
    return hp[f"maspo_beta_{side}"]


def widths(shape, inputs, mask, defined, formula):
    """Where the sign isn't the one that a width is for, theirs is the bare formula."""
    old_logp = jnp.asarray(inputs["old_log_prob"])
    own = maspo_width(old_logp, jnp.asarray(inputs["advantages"]), mask, **shape)
    mass = maspo_width(old_logp, jnp.zeros_like(old_logp), mask, **shape)
    bare = mass * jnp.clip(formula, shape["gain_low"], shape["gain_high"])
    return jnp.where(mask, jnp.where(defined, own, bare), 0.0)


def ppo(hp, inputs):
    return by_regions(hp, inputs, ppo_surrogate(hp))


ADAPTERS = {"maspo": gated, "ppo_region_form": ppo}
