"""What the adapters of verl and its forks share: how a loss matrix is averaged."""

import jax.numpy as jnp

from jaxrl.weights import constant_length, sequence_mean, sequence_sum, token_mean


def weights_of(hp, mask, *, empty_rows_count=False):
    """Weights of a `loss_agg_mode`; some forks count rows without tokens, too."""
    mask = jnp.asarray(mask, bool)
    rows = mask.any(1).sum()
    share = rows / len(mask) if empty_rows_count else 1.0
    match hp["loss_agg_mode"]:
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
    """Their masked mean, over a float mask; padding does not count."""
    mask = jnp.asarray(mask, bool)
    return jnp.where(mask, x, 0).sum() / mask.sum()
