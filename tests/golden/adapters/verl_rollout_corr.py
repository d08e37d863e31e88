"""verl's corrections for a sampling engine that differs from the training engine."""

import math

import jax.numpy as jnp

from jaxrl import segments
from jaxrl.divergences.samples import k1, k2, k3
from jaxrl.surrogates.correction import truncated_importance, within
from jaxrl.surrogates.ratio import (
    bounded_exp,
    mean_log_ratio,
    rows_if_none,
    sequence_log_ratio,
    sequence_mean_of,
    token_log_ratio,
)
from tests.golden.verl import mean_of

LEVELS = {"token": token_log_ratio, "sequence": sequence_log_ratio}


def pair(inputs):
    return jnp.asarray(inputs["old_log_prob"]), jnp.asarray(inputs["rollout_log_prob"])


def importance_weights(hp, new, old, mask):
    """Truncated importance weights, divided by their mean where theirs is."""
    cap, level = hp["rollout_is_threshold"], LEVELS[hp["rollout_is"]]
    weights = truncated_importance(new, old, mask, cap=cap, level=level)
    if not hp["rollout_is_batch_normalize"]:
        return weights
    if hp["rollout_is"] == "token":
        return weights / mean_of(weights, mask)
    return weights / mean_of(weights.max(1), mask.any(1))


def truncated(hp, inputs):
    mask = jnp.asarray(inputs["mask"], bool)
    new, old = pair(inputs)
    cap, level = hp["rollout_is_threshold"], LEVELS[hp["rollout_is"]]
    free = truncated_importance(new, old, mask, cap=math.inf, level=level)
    near = jnp.clip(free, 1 / cap, cap)
    spread = mean_of((near / mean_of(near, mask)) ** 2, mask)
    return {
        "weights": importance_weights(hp, new, old, mask),
        "mean_before_truncation": mean_of(free, mask),
        "eff_sample_size": 1 / spread,
    }


def accepted(hp, new, old, mask):
    """Tokens whose distance is within the bounds, themselves or as a sequence.

    Their k1 is minus the log ratio, so its bounds are those of the inverse ratio.
    """
    level, kind = hp["rollout_rs"].rsplit("_", 1)
    new, old = jnp.where(mask, new, 0.0), jnp.where(mask, old, 0.0)
    x = {"k1": k1, "k2": k2, "k3": k3}[kind](old, new)
    low, high = bounds_of(kind, str(hp["rollout_rs_threshold"]))
    rows = rows_if_none(None, mask)
    if level == "seq_max":
        outside = mask & ~within(x, low=low, high=high)
        return mask & (segments.pool(outside.astype(x.dtype), rows) == 0)
    if level == "seq_sum":
        x = segments.pool(jnp.where(mask, x, 0.0), rows)
    elif level == "seq_mean":
        x = sequence_mean_of(x, mask)
    return mask & within(x, low=low, high=high)


def bounds_of(kind, text):
    """`"a_b"` is lower and upper bound of a ratio, `"u"` stands for 1/u and u."""
    if kind != "k1":
        return -math.inf, float(text)
    low, _, high = text.rpartition("_")
    return math.log(float(low) if low else 1 / float(high)), math.log(float(high))


def rejected(hp, inputs):
    mask = jnp.asarray(inputs["mask"], bool)
    new_mask = accepted(hp, *pair(inputs), mask)
    lost = mask.any(1) & ~new_mask.any(1)
    if hp["rollout_rs"].startswith("token"):
        lost = (mask & ~new_mask).any(1)
    return {
        "new_mask": new_mask,
        "masked_fraction": mean_of(~new_mask, mask),
        "seq_masked_fraction": lost.mean(),
    }


def metrics(hp, inputs):
    mask = jnp.asarray(inputs["mask"], bool)
    new, old = (jnp.where(mask, x, 0.0) for x in pair(inputs))
    length = jnp.maximum(mask.sum(1), 1)
    ours, theirs = -new.sum(1) / length, -old.sum(1) / length
    total = sequence_log_ratio(new, old, mask).sum(1) / length
    per_row = mean_log_ratio(new, old, mask).sum(1) / length
    return {
        "kl": mean_of(k1(old, new), mask),
        "k3_kl": mean_of(k3(old, new), mask),
        "chi2_token": mean_of(bounded_exp(k1(new, old)) ** 2 - 1, mask),
        "chi2_seq": (bounded_exp(total) ** 2).mean() - 1,
        "training_ppl": jnp.exp(ours).mean(),
        "training_log_ppl": ours.mean(),
        "rollout_ppl": jnp.exp(theirs).mean(),
        "rollout_log_ppl": theirs.mean(),
        "log_ppl_diff": (-per_row).mean(),
        "log_ppl_abs_diff": jnp.abs(per_row).mean(),
        "log_ppl_diff_max": (-per_row).max(),
        "log_ppl_diff_min": (-per_row).min(),
        "ppl_ratio": jnp.exp(-per_row).mean(),
    }


ADAPTERS = {
    "offpolicy_metrics": metrics,
    **dict.fromkeys(
        (
            "tis_token",
            "tis_token_batchnorm",
            "tis_sequence",
            "tis_sequence_batchnorm",
        ),
        truncated,
    ),
    **dict.fromkeys(
        (
            "rs_token_k1",
            "rs_token_k2",
            "rs_token_k3",
            "rs_seq_sum_k1",
            "rs_seq_sum_k3",
            "rs_seq_mean_k1",
            "rs_seq_mean_k2",
            "rs_seq_mean_k3",
            "rs_seq_max_k2",
            "rs_seq_max_k3",
        ),
        rejected,
    ),
}
