"""AOPD: its gate, its divergence over the teacher's top k, and its baselines."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.advantages.teacher import overrated, teacher_log_ratio
from jaxrl.divergences.top_k import mixed_kl
from jaxrl.losses.distillation import divergence_loss
from tests.golden.distillation import (
    array,
    at_ids,
    clipped_policy,
    log_softmax,
    of_responses,
    sampled_kl,
    top_of,
)
from tests.golden.verl import weights_of


def mask_of(inputs):
    return jnp.asarray(inputs["mask"], bool)


def divergence_of(hp, inputs, logp, gate):
    """Loss and tokens of the divergence; the denominator is all tokens."""
    top = top_of(inputs["teacher_topk_indices"], inputs["teacher_topk_logprobs"])
    mixed = partial(mixed_kl, forward=hp["jsd_beta"])
    logp = at_ids(logp, inputs["teacher_topk_indices"])
    weights = jnp.where(
        gate, weights_of(hp, inputs["mask"], empty_rows_count=True), 0.0
    )
    loss = divergence_loss(logp, top, weights, divergence=mixed).value
    tokens = jnp.where(gate, mixed(logp, top), 0.0)
    return hp["gkd_weight"] * loss, hp["gkd_weight"] * tokens


def topk_divergence(hp, inputs):
    gate = mask_of(inputs) & jnp.asarray(inputs.get("gate", True), bool)

    def loss(logits):
        return divergence_of(hp, inputs, jax.nn.log_softmax(logits), gate)

    (value, tokens), gradient = jax.value_and_grad(loss, has_aux=True)(
        array(inputs["logits"])
    )
    return {"per_token": tokens, "loss": value, "grad_logits": gradient}


def gate_of(hp, inputs):
    return overrated(
        array(inputs["old_log_prob"]),
        array(inputs["teacher_log_prob"]),
        mask_of(inputs),
        threshold=hp["threshold"],
    )


def ratio_of(hp, inputs):
    return hp["opd_weight"] * teacher_log_ratio(
        array(inputs["old_log_prob"]),
        array(inputs["teacher_log_prob"]),
        mask_of(inputs),
    )


def advantage_aopd(hp, inputs):
    gate = gate_of(hp, inputs)
    return {
        "advantages": jnp.where(gate, 0.0, ratio_of(hp, inputs)),
        "imitate_gate": gate,
    }


def advantage_opd(hp, inputs):
    return {"advantages": ratio_of(hp, inputs)}


def trained(hp, inputs, advantages, distil):
    """The update: policy gradient plus `distil(log_softmax, logp) -> (loss, more)`."""
    weights = weights_of(hp, inputs["mask"], empty_rows_count=True)

    def loss(logits):
        full = log_softmax(hp, logits)
        logp = of_responses(full, inputs)
        policy = clipped_policy(hp, inputs, logp, advantages, weights)
        extra, more = distil(full, logp)
        return policy + extra, {"pg_loss": policy, "log_prob": logp, **more}

    (value, more), gradient = jax.value_and_grad(loss, has_aux=True)(
        array(inputs["logits"])
    )
    return {"loss": value, "advantages": advantages, "grad_logits": gradient, **more}


def imitated(hp, inputs, gate):
    def distil(full, _):
        loss, tokens = divergence_of(hp, inputs, full, gate)
        return loss, {"divergence_loss": loss, "divergence_per_token": tokens}

    return distil


def loss_aopd(hp, inputs):
    found = advantage_aopd(hp, inputs)
    distil = imitated(hp, inputs, gate_of(hp, inputs))
    return {**found, **trained(hp, inputs, found["advantages"], distil)}


def loss_opd(hp, inputs):
    return trained(hp, inputs, ratio_of(hp, inputs), lambda *_: (0.0, {}))


def loss_gkd(hp, inputs):
    nothing = jnp.zeros_like(inputs["old_log_prob"])
    return trained(hp, inputs, nothing, imitated(hp, inputs, mask_of(inputs)))


def loss_opd_in_loss(hp, inputs):
    def distil(_, logp):
        loss = sampled_kl(
            hp, inputs, logp, weights_of(hp, inputs["mask"], empty_rows_count=True)
        )
        return loss, {"distill_loss": loss}

    return trained(hp, inputs, jnp.zeros_like(inputs["old_log_prob"]), distil)


ADAPTERS = {
    "topk_divergence": topk_divergence,
    "advantage_aopd": advantage_aopd,
    "advantage_opd": advantage_opd,
    "loss_aopd": loss_aopd,
    "loss_opd": loss_opd,
    "loss_gkd": loss_gkd,
    "loss_opd_in_loss": loss_opd_in_loss,
}
