"""DCPO: bounds from the old probability, and credit that remembers."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from jaxrl.advantages.groups import spread
from jaxrl.advantages.history import History, smoothed_advantage, updated
from jaxrl.surrogates.bounds import dcpo, dcpo_bounds
from jaxrl.surrogates.clipping import clipped
from tests.golden.verl import mean_of, surrogate_loss, trust_of, weights_of


def dynamic(hp, inputs):
    mask = jnp.asarray(inputs["mask"], bool)
    shape = {
        "low": hp["clip_ratio_low"],
        "high": hp["clip_ratio_high"],
        "widest": max(hp["clip_ratio_c"], 10.0),
    }
    low, high = dcpo_bounds(jnp.asarray(inputs["old_log_prob"]), mask, **shape)
    plain = trust_of(partial(clipped, low=low, high=high), inputs)
    surrogate = partial(dcpo, **shape, cap=hp["clip_ratio_c"])
    trust = trust_of(surrogate, inputs)
    weights = weights_of(hp, mask, empty_rows_count=True)
    return {
        **surrogate_loss(surrogate, inputs, weights),
        "lower_bound": jnp.where(mask, 1 - low, 0.0),
        "upper_bound": jnp.where(mask, 1 + high, 0.0),
        "clipfrac": mean_of(plain.slope == 0, mask),
        "clipfrac_dual": mean_of((trust.slope == 0) & (plain.slope != 0), mask),
    }


def smooth(hp, inputs):
    """Rewards are sums over tokens, masked or not; groups may have any numbers."""
    mask = jnp.asarray(inputs["mask"], bool)
    rewards = jnp.asarray(inputs["token_level_rewards"]).sum(-1)
    group = jnp.asarray(np.unique(inputs["group"], return_inverse=True)[1])
    history = History(
        *(jnp.asarray(inputs[f"old_{name}"]) for name in ("times", "mean", "std"))
    )
    number = len(rewards)
    new = updated(history, rewards, group, num_groups=number)
    advantages = smoothed_advantage(
        history, rewards, group, num_groups=number, scale=hp["norm_adv_by_std"]
    )
    rows = jnp.broadcast_to(jnp.arange(number)[:, None], mask.shape)
    return {
        "advantages": spread(advantages, rows, mask),
        "new_mean": new.mean,
        "new_std": new.std,
    }


ADAPTERS = {"dcpo_dynamic_clip": dynamic, "dcpo_smooth_advantage": smooth}
