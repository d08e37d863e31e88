"""BAPO: bounds from the batch, then PPO."""

from functools import partial

import jax.numpy as jnp

from jaxrl.surrogates.bounds import bapo_bounds
from jaxrl.surrogates.clipping import clipped, dual_clipped, importance
from tests.golden.verl import mean_of, surrogate_loss, trust_of, weights_of


def balanced(hp, inputs):
    bounds = partial(
        bapo_bounds,
        target=hp["adv_ratio_target"],
        lower=tuple(hp[f"ratio_lower_{x}"] for x in ("start", "max", "step")),
        upper=tuple(hp[f"ratio_upper_{x}"] for x in ("start", "max", "step")),
    )
    lower, upper = trust_of(bounds, inputs)
    clip = {"low": 1 - lower, "high": upper - 1}
    mask = jnp.asarray(inputs["mask"], bool)
    plain = trust_of(partial(clipped, **clip), inputs)
    surrogate = partial(dual_clipped, **clip, cap=hp["clip_ratio_c"])
    trust = trust_of(surrogate, inputs)
    weights = weights_of(hp, mask, empty_rows_count=True)
    return {
        **surrogate_loss(surrogate, inputs, weights),
        "lower_bound": lower,
        "upper_bound": upper,
        "pos_neg_ratio": contributions(hp, inputs, lower, upper),
        "clipfrac": mean_of(plain.slope == 0, mask),
        "clipfrac_dual": mean_of((trust.slope == 0) & (plain.slope != 0), mask),
    }


def contributions(hp, inputs, lower, upper):
    """Good over bad ones, with the `eps` that theirs adds to the latter."""
    mask, advantages = inputs["mask"] != 0, inputs["advantages"]
    ratio, _ = trust_of(importance, inputs)
    good = jnp.where(mask & (advantages >= 0), jnp.minimum(ratio, upper), 0.0)
    bad = jnp.where(mask & (advantages < 0), jnp.maximum(ratio, lower), 0.0)
    return (good * advantages).sum() / ((-bad * advantages).sum() + hp["eps"])


ADAPTERS = {"bapo": balanced}
