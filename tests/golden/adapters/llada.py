"""LLaDA: its losses, likelihood by ELBO, and decoding, over their toy network."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.diffusion import fill_in, fill_schedule, guided, stratified_counts
from jaxrl.divergences.vocabulary import at
from jaxrl.losses.diffusion import elbo, masked_nll
from jaxrl.weights import sequence_mean, token_mean


def toy_network(inputs, tokens):
    """Logits [B, L, V] from the place and both neighbours."""
    base, left, right = (
        jnp.asarray(inputs[f"logit_{x}"]) for x in ("base", "left", "right")
    )
    before, after = left[tokens[:, :-1]], right[tokens[:, 1:]]
    logits = jnp.broadcast_to(base, (len(tokens), *base.shape))
    return logits.at[:, 1:].add(before).at[:, :-1].add(after)


def predicted(hp, inputs, tokens, prompt):
    """The network's logits, with guidance against the hidden prompt."""
    tokens = jnp.asarray(tokens)
    logits = toy_network(inputs, tokens)
    if not hp["cfg_scale"]:
        return logits
    without = toy_network(inputs, tokens.at[:, :prompt].set(hp["mask_id"]))
    return guided(logits, without, scale=hp["cfg_scale"])


def log_likelihood(hp, inputs):
    prompt, perturbed = len(inputs["prompt"]), inputs["perturbed"]
    whole = np.concatenate([inputs["prompt"], inputs["answer"]])
    rounds, batch, length = perturbed.shape
    ids = jnp.broadcast_to(jnp.asarray(whole)[None, :, None], (batch, length, 1))
    logits = [predicted(hp, inputs, x, prompt) for x in perturbed]
    logp = jnp.stack([at(x, ids)[..., 0] for x in logits])
    draws = logp.reshape(rounds * batch, 1, length)
    masked = (perturbed == hp["mask_id"]).reshape(draws.shape)
    share = jnp.asarray(inputs["mask_ratio"][..., 0]).reshape(-1, 1)
    found = elbo(draws, jnp.asarray(masked), share).sum()
    return {"log_likelihood": found, "logits_first_batch": logits[0]}


def masked_counts(hp, inputs):
    names = ("k", "batch_size", "target_len")
    found = np.full((len(inputs["k"]), 16), -1)
    for row, (k, size, length) in enumerate(
        zip(*(inputs[n].tolist() for n in names), strict=True)
    ):
        found[row, :size] = stratified_counts(jnp.asarray(k), draws=size, length=length)
    return {"counts": found}


def num_transfer_tokens(hp, inputs):
    count = jnp.asarray(inputs["mask_index"].sum(1))
    return {"num_transfer_tokens": fill_schedule(count, steps=hp["steps"])}


def decode_low_confidence(hp, inputs):
    """Block by block; what stands behind the block is never filled."""
    prompt, size = inputs["prompt"], hp["block_length"]
    rows, start = prompt.shape
    blocks = hp["gen_length"] // size
    steps = hp["steps"] // blocks
    tail = np.full((rows, hp["gen_length"]), hp["mask_id"])
    tokens = jnp.asarray(np.concatenate([prompt, tail], axis=1))
    place = jnp.arange(tokens.shape[1])[None, :]
    for block in range(blocks):
        end = start + (block + 1) * size
        inside = (place >= end - size) & (place < end)
        hidden = (tokens == hp["mask_id"]) & inside
        schedule = fill_schedule(hidden.sum(1), steps=steps)
        for step in range(steps):
            logits = predicted(hp, inputs, tokens, start)
            hidden = (tokens == hp["mask_id"]) & inside
            tokens = fill_in(tokens, logits, hidden, schedule[:, step])
    return {"sequence": tokens}


def trained(inputs, weights):
    ids = jnp.asarray(inputs["input_ids"])[..., None]
    masked, level = jnp.asarray(inputs["masked"]), jnp.asarray(inputs["p_mask"])

    def loss(logits):
        return masked_nll(at(logits, ids)[..., 0], masked, level, weights).value

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(inputs["logits"]))
    return {"loss": value, "grad_logits": gradient}


def pretrain_loss(hp, inputs):
    return trained(inputs, token_mean(jnp.ones(inputs["masked"].shape, bool)))


def sft_loss(hp, inputs):
    place = np.arange(inputs["masked"].shape[1])[None, :]
    answer = place >= inputs["prompt_lengths"][:, None]
    return trained(inputs, sequence_mean(jnp.asarray(answer)))


ADAPTERS = {
    "log_likelihood": log_likelihood,
    "log_likelihood_cfg": log_likelihood,
    "masked_counts": masked_counts,
    "num_transfer_tokens": num_transfer_tokens,
    "decode_low_confidence": decode_low_confidence,
    "decode_low_confidence_cfg": decode_low_confidence,
    "pretrain_loss": pretrain_loss,
    "sft_loss": sft_loss,
}
