"""verl's policy losses, and its losses of values and entropy."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.advantages.selection import largest, quota, token_covariance
from jaxrl.divergences.samples import absolute
from jaxrl.losses.penalty import entropy_bonus, kl_penalty
from jaxrl.losses.policy import policy_gradient
from jaxrl.losses.value import clipped_value
from jaxrl.surrogates.clipping import cispo, clipped, dual_clipped, importance
from jaxrl.surrogates.correction import within
from jaxrl.surrogates.gates import sapo
from jaxrl.surrogates.ratio import token_log_ratio
from jaxrl.surrogates.sequence import gmpo, gspo
from tests.golden.adapters.verl_rollout_corr import accepted, importance_weights
from tests.golden.verl import (
    mean_of,
    old_to_new,
    surrogate_loss,
    trust_of,
    weights_of,
)

reinforce = partial(cispo, lower=1.0, upper=1.0)


def distances(hp):
    return {"low": hp["clip_ratio_low"], "high": hp["clip_ratio_high"]}


def with_metrics(inputs, found, clipped=0.0, clipped_lower=0.0):
    """Shares of the tokens that a bound holds, and the mean log ratio."""
    mask = inputs["mask"] != 0
    return {
        **found,
        "metric_pg_clipfrac": mean_of(clipped, mask),
        "metric_pg_clipfrac_lower": mean_of(clipped_lower, mask),
        "metric_ppo_kl": old_to_new(inputs),
    }


def vanilla(hp, inputs):
    surrogate = partial(dual_clipped, **distances(hp), cap=hp["clip_ratio_c"])
    plain = trust_of(partial(clipped, **distances(hp)), inputs).slope == 0
    dual = (trust_of(surrogate, inputs).slope == 0) & ~plain
    found = surrogate_loss(surrogate, inputs, weights_of(hp, inputs["mask"]))
    return with_metrics(inputs, found, plain, dual)


def sequence_clipped(hp, inputs):
    surrogate = partial(gspo, **distances(hp))
    found = surrogate_loss(surrogate, inputs, weights_of(hp, inputs["mask"]))
    return with_metrics(inputs, found, trust_of(surrogate, inputs).slope == 0)


def soft(hp, inputs):
    surrogate = partial(
        sapo, positive_temperature=hp["tau_pos"], negative_temperature=hp["tau_neg"]
    )
    found = surrogate_loss(surrogate, inputs, weights_of(hp, inputs["mask"]))
    return with_metrics(inputs, found)


def weight_clipped(hp, inputs):
    bounds = {"lower": 1 - hp["clip_ratio_low"], "upper": 1 + hp["clip_ratio_high"]}
    surrogate = partial(cispo, **bounds)
    found = surrogate_loss(surrogate, inputs, weights_of(hp, inputs["mask"]))
    moved = trust_of(surrogate, inputs).slope != trust_of(importance, inputs).slope
    return with_metrics(inputs, found, moved)


def geometric(hp, inputs):
    """A plain mean over rows, also empty ones, of a row's ratio and mean advantage.

    Weights of the rollout enter as their geometric mean over the row. Their metrics
    count tokens beyond either limit.
    """
    mask = jnp.asarray(inputs["mask"], bool)
    length = jnp.maximum(mask.sum(1), 1)

    def row_mean(x):
        return jnp.where(mask, x, 0.0).sum(1) / length

    advantages = row_mean(inputs["advantages"])
    if "rollout_is_weights" in inputs:
        scale = jnp.where(mask, inputs["rollout_is_weights"], 1.0)
        advantages *= jnp.exp(row_mean(jnp.log(scale + 1e-10)))
    spread = jnp.broadcast_to(advantages[:, None], mask.shape)
    rows = {k: x for k, x in inputs.items() if k != "rollout_is_weights"}
    rows["advantages"] = spread
    mode = {"loss_agg_mode": "seq-mean-token-mean"}
    weights = weights_of(mode, mask, empty_rows_count=True)
    found = surrogate_loss(partial(gmpo, **distances(hp)), rows, weights)
    x = token_log_ratio(inputs["log_prob"], inputs["old_log_prob"], mask)
    beyond = ~within(x, low=-hp["clip_ratio_low"], high=hp["clip_ratio_high"])
    good, bad = inputs["advantages"] > 0, inputs["advantages"] < 0
    per_sequence = row_mean(found.pop("loss_mat"))
    return with_metrics(inputs, found, beyond & good, beyond & bad) | {
        "per_sequence_loss": per_sequence
    }


def plain(hp, inputs):
    """REINFORCE; the old policy, if there is one, is looked at by a metric only."""
    old = "old_log_prob" if "old_log_prob" in inputs else "rollout_log_prob"
    weights = weights_of(hp, inputs["mask"])
    found = surrogate_loss(reinforce, inputs, weights, old=old)
    kl = old_to_new({**inputs, "old_log_prob": inputs[old]})
    return found | {"metric_ppo_kl": kl}


def covariance_of(inputs):
    mask = jnp.asarray(inputs["mask"], bool)
    return token_covariance(
        jnp.asarray(inputs["advantages"]), jnp.asarray(inputs["log_prob"]), mask
    )


def clip_cov(hp, inputs):
    """Tokens to drop are drawn among the eligible ones; theirs are recorded."""
    mask, drawn = jnp.asarray(inputs["mask"], bool), inputs["selected"]
    surrogate = partial(clipped, **distances(hp))
    covariance = covariance_of(inputs)
    excluded = (trust_of(surrogate, inputs).slope == 0) | ~mask
    inside = (hp["clip_cov_lb"] < covariance) & (covariance < hp["clip_cov_ub"])
    eligible = inside & ~excluded
    number = quota(mask, hp["clip_cov_ratio"])
    possible = largest(jnp.where(drawn, 1.0, 0.0), eligible, drawn.sum())
    fits = drawn.sum() == jnp.minimum(number, eligible.sum())
    selected = drawn & eligible & possible & fits
    weights = jnp.where(selected, 0.0, weights_of(hp, mask))
    found = surrogate_loss(surrogate, inputs, weights)
    return {
        **found,
        "loss_mat": jnp.where(selected, 0.0, found["loss_mat"]),
        "covariance": jnp.where(excluded, 0.0, covariance),
        "excluded": excluded,
        "eligible": eligible,
        "n_quota": number,
        "selected": selected,
    }


def kl_cov(hp, inputs):
    mask = jnp.asarray(inputs["mask"], bool)
    number = quota(mask, hp["kl_cov_ratio"])
    selected = largest(covariance_of(inputs), mask, number)
    logp, old_logp = (jnp.asarray(inputs[x]) for x in ("log_prob", "old_log_prob"))
    advantages = jnp.asarray(inputs["advantages"])
    scale = inputs.get("rollout_is_weights", 1.0)
    weights = weights_of(hp, mask) * jnp.where(mask, scale, 0.0)
    pulled = jnp.where(selected, weights, 0.0)

    def loss(logp):
        policy = policy_gradient(
            logp, old_logp, advantages, weights, surrogate=importance
        )
        pull = kl_penalty(logp, old_logp, pulled, estimator=absolute)
        return (policy + hp["ppo_kl_coef"] * pull).value

    value, gradient = jax.value_and_grad(loss)(logp)
    distance = absolute(logp, old_logp)
    tokens = -advantages * trust_of(importance, inputs).value
    tokens += jnp.where(selected, hp["ppo_kl_coef"] * distance, 0.0)
    return {
        "loss": value,
        "grad_log_prob": gradient,
        "loss_mat": jnp.where(mask, tokens * scale, 0.0),
        "selected": selected,
        "n_selected": number,
        "metric_ppo_kl_abs": mean_of(distance, mask),
    }


def bypass(hp, inputs):
    """The sampling engine is the old policy; tokens it got too wrong are rejected."""
    mask = jnp.asarray(inputs["mask"], bool)
    new, old = (jnp.asarray(inputs[x]) for x in ("log_prob", "rollout_log_prob"))
    weights = importance_weights(hp, new, old, mask)
    kept = accepted(hp, new, old, mask) if hp["rollout_rs"] else mask
    trained = {**inputs, "mask": kept}
    surrogate = partial(dual_clipped, **distances(hp), cap=hp["clip_ratio_c"])
    if hp["loss_type"] == "reinforce":
        surrogate = reinforce
        trained["rollout_is_weights"] = weights
    agg = weights_of(hp, kept)
    found = surrogate_loss(surrogate, trained, agg, old="rollout_log_prob")
    every = surrogate_loss(
        surrogate, {**trained, "mask": mask}, agg, old="rollout_log_prob"
    )
    return {
        **found,
        "loss_mat": every["loss_mat"],
        "effective_mask": kept,
        "is_weights": weights,
    }


def value_loss(hp, inputs):
    mask = jnp.asarray(inputs["mask"], bool)
    new, old, returns = (
        jnp.asarray(inputs[x]) for x in ("vpreds", "values", "returns")
    )
    weights, clip = weights_of(hp, mask), hp["cliprange_value"]

    def loss(new, weights):
        return clipped_value(new, old, returns, weights, clip=clip)

    value, gradient = jax.value_and_grad(lambda x: loss(x, weights).value)(new)
    fraction = loss(new, weights).metrics["value_clip_fraction"].result()
    # The gradient by the weights is the loss of each token.
    tokens = jax.grad(lambda w: loss(new, w).value)(weights)
    return {
        "loss": value,
        "grad_vpreds": gradient,
        "loss_mat": jnp.where(mask, 2.0 * tokens, 0.0),
        "clipfrac": fraction,
    }


def entropy(hp, inputs):
    weights, logits = weights_of(hp, inputs["mask"]), jnp.asarray(inputs["logits"])

    def tokens(logits):
        logp = jax.nn.log_softmax(logits)
        return -(jnp.exp(logp) * logp).sum(-1)

    def loss(logits):
        return -entropy_bonus(tokens(logits), weights).value

    value, gradient = jax.value_and_grad(loss)(logits)
    labels = jnp.asarray(inputs["labels"])[..., None]
    logp = jnp.take_along_axis(jax.nn.log_softmax(logits), labels, axis=-1)
    return {
        "loss": value,
        "grad_logits": gradient,
        "token_entropy": tokens(logits),
        "token_log_prob": logp[..., 0],
    }


ADAPTERS = {
    "vanilla": vanilla,
    "gspo": sequence_clipped,
    "sapo": soft,
    "gpg": plain,
    "cispo": weight_clipped,
    "geo_mean": geometric,
    "clip_cov": clip_cov,
    "kl_cov": kl_cov,
    "reinforce": plain,
    "bypass_reinforce": bypass,
    "bypass_ppo_clip": bypass,
    "value_loss": value_loss,
    "entropy": entropy,
}
