"""TRL's GRPO trainer: its losses, levels of importance sampling, and switches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.advantages.selection import high_entropy
from jaxrl.divergences.samples import k3
from jaxrl.losses.penalty import kl_penalty
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import cispo, clipped, dual_clipped
from jaxrl.surrogates.gates import sapo
from jaxrl.surrogates.ratio import Surrogate, importance_ratio
from jaxrl.surrogates.sequence import gmpo, gspo, vespo, without_strays
from jaxrl.weights import constant_length, sequence_mean, sequence_sum, token_mean


def mask_of(inputs):
    return jnp.asarray(inputs["completion_mask"] * inputs["tool_mask"], bool)


def weights_of(hp, mask):
    """Theirs counts rows without tokens in means over rows."""
    share = mask.any(1).sum() / len(mask) / hp["gradient_accumulation_steps"]
    match hp["loss_type"]:
        case "grpo" | "sapo":
            return sequence_mean(mask) * share
        case "bnpo":
            return token_mean(mask) / hp["gradient_accumulation_steps"]
        case "dr_grpo":
            return constant_length(mask, length=hp["max_completion_length"]) * share
        case "luspo":
            return sequence_sum(mask) * share
        case "dapo" | "cispo" | "vespo":
            return token_mean(mask) * mask.sum() / hp["num_items_in_batch"]
        case other:
            raise ValueError(f"unknown loss_type {other!r}")


def surrogate_of(hp):
    """How a loss type trusts tokens, before the mask of stray sequences."""
    low, high = hp["epsilon_low"], hp["epsilon_high"]
    match hp["loss_type"]:
        case "cispo":
            # Their epsilon is the bound itself.
            return partial(cispo, lower=0.0, upper=high)
        case "sapo":
            # Theirs rounds the temperatures.
            return partial(
                sapo,
                positive_temperature=float(np.float32(hp["sapo_temperature_pos"])),
                negative_temperature=float(np.float32(hp["sapo_temperature_neg"])),
            )
        case "vespo":
            return partial(
                vespo,
                positive_power=hp["vespo_k_pos"],
                positive_rate=hp["vespo_lambda_pos"],
                negative_power=hp["vespo_k_neg"],
                negative_rate=hp["vespo_lambda_neg"],
            )
    if hp["importance_sampling_level"] == "sequence":
        return partial(gspo, low=low, high=high)
    if hp.get("delta") is None:
        return partial(clipped, low=low, high=high)
    cap = max(hp["delta"], 1 + high)
    return partial(dual_clipped, low=low, high=min(high, hp["delta"] - 1), cap=cap)


def with_strays_dropped(surrogate, threshold):
    def kept(*inputs):
        return without_strays(surrogate(*inputs), *inputs, threshold=threshold)

    return kept


def trained(hp, inputs):
    mask = mask_of(inputs)
    logp, old_logp = (jnp.asarray(inputs[x]) for x in ("log_prob", "old_log_prob"))
    advantages = jnp.asarray(inputs["advantages"])[:, None] * jnp.ones_like(logp)
    surrogate, extra = surrogate_of(hp), {}
    if hp.get("off_policy_mask_threshold") is not None:
        threshold = hp["off_policy_mask_threshold"]
        surrogate = with_strays_dropped(surrogate, threshold)
        everything = Surrogate(jnp.ones_like(logp), jnp.ones_like(logp))
        kept = without_strays(
            everything, logp, old_logp, advantages, mask, threshold=threshold
        )
        extra["off_policy_mask"] = jnp.where(mask, kept.value, 1.0).min(1)[:, None]
    weights = weights_of(hp, mask)
    live = weights
    if hp.get("top_entropy_quantile") is not None:
        share = hp["top_entropy_quantile"]
        picked = high_entropy(jnp.asarray(inputs["entropy"]), mask, share=share)
        extra["entropy_mask"], live = picked, jnp.where(picked, weights, 0.0)
    credit = advantages * inputs.get("importance_sampling_ratio", 1.0)
    estimator = penalty_of(hp, old_logp, mask)

    def loss(logp):
        found = policy_gradient(logp, old_logp, credit, live, surrogate=surrogate)
        if not hp["beta"]:
            return found.value
        ref_logp = jnp.asarray(inputs["ref_log_prob"])
        pull = kl_penalty(logp, ref_logp, weights, estimator=estimator)
        return (found + hp["beta"] * pull).value

    value, gradient = jax.value_and_grad(loss)(logp)
    trust = surrogate(logp, old_logp, advantages, mask)
    tokens = jnp.where(live != 0, -credit * trust.value, 0.0)
    if hp["loss_type"] == "vespo":
        first = mask.argmax(1)[:, None]
        extra["phi_seq"] = jnp.take_along_axis(trust.slope, first, axis=1)
    if hp["beta"]:
        kl = estimator(logp, jnp.asarray(inputs["ref_log_prob"]))
        extra["per_token_kl"] = jnp.where(mask, kl, 0.0)
        tokens += hp["beta"] * extra["per_token_kl"]
    elif hp["importance_sampling_level"] == "sequence":
        first = mask.argmax(1)[:, None]
        tokens = jnp.take_along_axis(-credit * trust.value, first, axis=1)
    return extra | {"loss": value, "grad_log_prob": gradient, "per_token_loss": tokens}


def penalty_of(hp, old_logp, mask):
    """k3, multiplied by the ratio if the bias of old data is to be corrected."""
    if not hp.get("use_bias_correction_kl"):
        return k3
    return lambda logp, ref_logp: (
        importance_ratio(logp, old_logp, mask) * k3(logp, ref_logp)
    )


def geometric(hp, inputs):
    mask = mask_of(inputs)
    surrogate = partial(gmpo, low=hp["epsilon_low"], high=hp["epsilon_high"])
    logp, old_logp = (jnp.asarray(inputs[x]) for x in ("log_prob", "old_log_prob"))
    advantages = jnp.asarray(inputs["advantages"])[:, None] * jnp.ones_like(logp)
    weights = sequence_mean(mask) * mask.any(1).sum() / len(mask)

    def loss(logp):
        return policy_gradient(
            logp, old_logp, advantages, weights, surrogate=surrogate
        ).value

    value, gradient = jax.value_and_grad(loss)(logp)
    # Theirs limits the ratios of sequences without an advantage, too.
    signs = jnp.where(advantages > 0, 1.0, -1.0).astype(logp.dtype)
    trust = surrogate(logp, old_logp, signs, mask)
    ratio = jnp.take_along_axis(trust.value, mask.argmax(1)[:, None], axis=1)[:, 0]
    return {
        "loss": value,
        "grad_log_prob": gradient,
        "sequence_ratio": ratio,
        "per_sequence_loss": -ratio * inputs["advantages"],
    }


ADAPTERS = {
    **dict.fromkeys(
        (
            "grpo",
            "bnpo",
            "dr_grpo",
            "dapo",
            "cispo",
            "sapo",
            "gspo",
            "luspo",
            "vespo",
            "grpo_two_sided_delta",
            "grpo_kl",
            "dapo_kl_bias_corrected",
            "grpo_top_entropy",
            "grpo_off_policy_mask",
            "dapo_tis",
        ),
        trained,
    ),
    "gmpo": geometric,
}
