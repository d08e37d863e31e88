"""What the adapters of verl and its forks share: averages, and a surrogate's loss."""

import jax
import jax.numpy as jnp

from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import importance
from jaxrl.surrogates.ratio import token_log_ratio
from jaxrl.weights import constant_length, sequence_mean, sequence_sum, token_mean


def weights_of(hp, mask, *, empty_rows_count=False):
    """Weights of a `loss_agg_mode`; some forks count rows without tokens, too."""
    mask = jnp.asarray(mask, bool)
    rows = mask.any(1).sum()
    share = rows / len(mask) if empty_rows_count else 1.0
    match hp["loss_agg_mode"].split(" ")[0]:
        case "token-mean" | "only-token-mean":
            return token_mean(mask)
        case "seq-mean-token-sum":
            return sequence_sum(mask) * share
        case "seq-mean-token-mean":
            return sequence_mean(mask) * share
        case "seq-mean-token-sum-norm":
            # Their sum over the padded width, whatever the number of rows.
            return constant_length(mask, length=mask.shape[1]) * rows
        case mode:
            raise ValueError(f"unknown loss_agg_mode {mode!r}")


def mean_of(x, mask):
    """Their masked mean; padding does not count."""
    mask = jnp.asarray(mask, bool)
    return jnp.where(mask, x, 0).sum() / mask.sum()


def old_to_new(inputs):
    """Their estimate of the KL: the mean of the old minus the new log-probability."""
    mask = jnp.asarray(inputs["mask"], bool)
    return mean_of(
        -token_log_ratio(inputs["log_prob"], inputs["old_log_prob"], mask), mask
    )


def trust_of(surrogate, inputs, old="old_log_prob"):
    """The surrogate of the recorded inputs."""
    mask = jnp.asarray(inputs["mask"], bool)
    names = ("log_prob", old, "advantages")
    return surrogate(*(jnp.asarray(inputs[name]) for name in names), mask)


def surrogate_loss(surrogate, inputs, weights, old="old_log_prob"):
    """Loss, gradient and the unweighted losses of tokens, of a policy gradient.

    `rollout_is_weights`, where there are some, multiply the losses of tokens.
    """
    mask = jnp.asarray(inputs["mask"], bool)
    logp, old_logp = jnp.asarray(inputs["log_prob"]), jnp.asarray(inputs[old])
    advantages = inputs["advantages"] * inputs.get("rollout_is_weights", 1.0)
    advantages = jnp.asarray(advantages)

    def loss(logp):
        return policy_gradient(
            logp, old_logp, advantages, weights, surrogate=surrogate
        ).value

    value, gradient = jax.value_and_grad(loss)(logp)
    trust = surrogate(logp, old_logp, advantages, mask)
    return {
        "loss": value,
        "grad_log_prob": gradient,
        "loss_mat": jnp.where(mask, -advantages * trust.value, 0.0),
    }


def regions(hp, inputs):
    """Where the ratio is beyond a bound, and their shares of the tokens."""
    mask = jnp.asarray(inputs["mask"], bool)
    ratio, _ = trust_of(importance, inputs)
    good, bad = mask & (inputs["advantages"] > 0), mask & (inputs["advantages"] < 0)
    left = bad & (ratio < 1 - hp["cliprange_low"])
    right = good & (ratio > 1 + hp["cliprange_high"])
    dual = bad & (ratio > hp["clip_ratio_c"])
    return {
        "region_left_boundary": left,
        "region_right_boundary": right,
        "region_dual_clip": dual,
        "clipfrac": mean_of(left | right, mask),
        "clipfrac_dual": mean_of(dual, mask),
        "ppo_kl": old_to_new(inputs),
    }
