"""verl's ways to average a loss matrix, and its whitening."""

import jax
import jax.numpy as jnp

from jaxrl.advantages.whitening import whiten
from jaxrl.masking import masked_mean, masked_sum
from tests.golden.verl import weights_of


def aggregated(hp, inputs):
    """Theirs divides by numbers of the whole run, and multiplies by the devices."""
    mask = jnp.asarray(inputs["mask"], bool)
    weights = weights_of(hp, mask) * run_over_batch(hp, mask)

    def loss(x):
        return masked_sum(weights * jnp.where(mask, x, 0.0), mask)

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(inputs["loss_mat"]))
    return {"loss": value, "grad_loss_mat": gradient}


def run_over_batch(hp, mask):
    """How their denominator differs from the one that the batch alone gives."""
    mode, devices = hp["loss_agg_mode"], hp["dp_size"]
    if mode == "token-mean":
        return devices * mask.sum() / (hp["batch_num_tokens"] or mask.sum())
    if mode == "seq-mean-token-sum-norm":
        return mask.shape[1] / (hp["loss_scale_factor"] or mask.shape[1])
    rows = mask.any(1).sum()
    return devices * rows / (hp["global_batch_size"] or rows)


def whitened(hp, inputs):
    """Theirs whitens what is masked too, with the statistics of the rest."""
    mask, x = jnp.asarray(inputs["mask"], bool), jnp.asarray(inputs["values"])
    mean = masked_mean(x, mask)
    variance = masked_sum((x - mean) ** 2, mask) / (mask.sum() - 1)
    outside = (x - mean) / jnp.sqrt(variance + 1e-8)
    result = jnp.where(mask, whiten(x, mask, ddof=1, eps=1e-8), outside)
    return {
        "whitened": result + (0.0 if hp["shift_mean"] else mean),
        "mean": mean,
        "var_unbiased": variance,
    }


ADAPTERS = {
    "token-mean": aggregated,
    "seq-mean-token-sum": aggregated,
    "seq-mean-token-mean": aggregated,
    "seq-mean-token-sum-norm": aggregated,
    "masked_whiten": whitened,
}
