"""TRL's advantages and importance ratios. Rows are blocks; NaN is no reward."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.advantages.baselines import set_apart
from jaxrl.advantages.groups import group_centred, group_normalised, leave_one_out
from jaxrl.advantages.scaling import (
    batch_normalised,
    batch_scaled,
    decoupled_normalised,
)
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import clipped
from jaxrl.surrogates.correction import masked_importance, truncated_importance
from jaxrl.surrogates.ratio import sequence_log_ratio, token_log_ratio


def blocks(hp, number):
    return jnp.arange(number) // hp["num_generations"]


def prepared(hp, inputs):
    """Weighted sums over the rewards that apply, and groups of rows that have any."""
    columns = jnp.asarray(inputs["rewards_per_func"])
    applies, shares = ~jnp.isnan(columns), jnp.asarray(hp["reward_weights"])
    rewards = jnp.sum(jnp.where(applies, columns, 0.0) * shares, 1)
    live, number = applies.any(1), len(columns)
    return rewards, set_apart(blocks(hp, number), live, num_groups=number), live


def grpo(hp, inputs):
    rewards, group, live = prepared(hp, inputs)
    number, eps = 2 * len(rewards), hp["epsilon"]
    found = {
        "group": partial(group_normalised, num_groups=number, eps=eps),
        "none": partial(group_centred, num_groups=number),
        "batch": lambda x, g: batch_scaled(x, g, live, num_groups=number, eps=eps),
    }[hp["scale_rewards"]](rewards, group)
    return {"advantages": jnp.where(live, found, 0.0)}


def gdpo(hp, inputs):
    """A reward that does not apply is worth 0, and does not count in the statistics."""
    columns = jnp.asarray(inputs["rewards_per_func"])
    applies, number = ~jnp.isnan(columns), len(columns)
    group = jax.vmap(
        lambda live: set_apart(blocks(hp, number), live, num_groups=number), 1, 1
    )(applies)
    summed = decoupled_normalised(
        jnp.where(applies, columns, 0.0),
        group,
        jnp.where(applies, jnp.asarray(hp["reward_weights"]), 0.0),
        num_groups=2 * number,
        eps=hp["epsilon"],
    )
    live = applies.any(1)
    return {"advantages": batch_normalised(summed, live, eps=hp["epsilon"])}


def rloo(hp, inputs):
    rewards = jnp.asarray(inputs["rewards"])
    if hp["reward_clip_range"] is not None:
        rewards = jnp.clip(rewards, *hp["reward_clip_range"])
    apart = jnp.asarray(inputs["old_log_prob"]) - inputs["ref_log_prob"]
    kl = jnp.sum(jnp.where(inputs["mask"] > 0, apart, 0.0), 1)
    number = len(rewards)
    found = leave_one_out(
        rewards - hp["beta"] * kl, blocks(hp, number), num_groups=number
    )
    if hp["normalize_advantages"]:
        found = batch_normalised(found, jnp.ones(number, bool))
    return {"advantages": found}


def rloo_loss(hp, inputs):
    """A row is one action: its log-probabilities are added up."""
    mask = jnp.asarray(inputs["mask"], bool)

    def row_sums(x):
        return jnp.sum(jnp.where(mask, x, 0.0), 1, keepdims=True)

    advantages = jnp.asarray(inputs["advantages"])[:, None]
    old = row_sums(inputs["old_log_prob"])
    surrogate = partial(clipped, low=hp["epsilon_low"], high=hp["epsilon_high"])

    def loss(logp):
        weights = jnp.full_like(advantages, 1 / len(advantages))
        return policy_gradient(
            row_sums(logp), old, advantages, weights, surrogate=surrogate
        ).value

    logp = jnp.asarray(inputs["log_prob"])
    value, gradient = jax.value_and_grad(loss)(logp)
    every = jnp.ones_like(advantages, bool)
    trust = surrogate(row_sums(logp), old, advantages, every)
    return {
        "loss": value,
        "grad_log_prob": gradient,
        "per_sequence_loss": -(advantages * trust.value)[:, 0],
        "sequence_ratio": jnp.exp(row_sums(logp) - old)[:, 0],
    }


def ratio(hp, inputs):
    """Where the sampler gave no number, and outside of the mask, the ratio is 1."""
    known = (inputs["mask"] > 0) & ~jnp.isnan(inputs["sampling_log_prob"])
    logp, other = (
        jnp.where(known, inputs[x], 0.0) for x in ("old_log_prob", "sampling_log_prob")
    )
    sequences = hp["mode"].startswith("sequence")
    level = sequence_log_ratio if sequences else token_log_ratio
    every, low, high = jnp.ones_like(known), hp["clip_min"] or 0.0, hp["clip_max"]
    if hp["mode"].endswith("mask"):
        found = masked_importance(logp, other, every, low=low, high=high, level=level)
    else:
        found = truncated_importance(logp, other, every, cap=high, level=level)
        found = jnp.maximum(found, low)
    return {"ratio": found[:, :1] if sequences else found}


ADAPTERS = {
    "grpo_group": grpo,
    "grpo_none": grpo,
    "grpo_batch": grpo,
    "grpo_group_multi_reward": grpo,
    "grpo_gdpo_normalize_then_sum": gdpo,
    "rloo": rloo,
    "rloo_kl_in_reward": rloo,
    "rloo_clipped_normalized": rloo,
    "rloo_loss": rloo_loss,
    "is_token_truncate": ratio,
    "is_token_mask": ratio,
    "is_sequence_truncate": ratio,
    "is_sequence_mask": ratio,
}
