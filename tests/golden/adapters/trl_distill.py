"""TRL's divergences between distributions, and importance-weighted OPD."""

import jax
import jax.numpy as jnp

from jaxrl.advantages.teacher import early_weights, teacher_log_ratio
from jaxrl.divergences import top_k, vocabulary
from jaxrl.losses.distillation import divergence_loss
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.reinforce import reinforce
from jaxrl.weights import token_mean


def gkd(hp, inputs):
    """Their mean may divide by a number of tokens of the whole run."""
    mask = jnp.asarray(inputs["mask"], bool)
    teacher = jnp.asarray(inputs["teacher_logits"]) / hp["temperature"]
    number = hp["num_items_in_batch"] or jnp.maximum(mask.sum(), 1)

    def loss(logits):
        nats = vocabulary.jensen_shannon(
            logits / hp["temperature"], teacher, beta=hp["beta"]
        )
        tokens = jnp.where(mask, nats, 0.0)
        return tokens.sum() / number, tokens

    (value, tokens), gradient = jax.value_and_grad(loss, has_aux=True)(
        jnp.asarray(inputs["student_logits"])
    )
    return {"loss": value, "per_token": tokens, "grad_student_logits": gradient}


def closure_of(hp):
    return top_k.with_tail if hp["add_tail"] else top_k.renormalised


def support_of(hp, logits, teacher):
    """The teacher's tokens for the forward, the student's for the reverse KL."""
    if hp["beta"] == 0:
        return vocabulary.teacher_top(teacher, k=hp["top_k"])
    if hp["beta"] == 1:
        return vocabulary.student_top(logits, teacher, k=hp["top_k"])
    return vocabulary.union_top(logits, teacher, k=hp["top_k"])


def topk_jsd(hp, inputs):
    teacher = jnp.asarray(inputs["teacher_logits"]) / hp["temperature"]
    weights = token_mean(jnp.asarray(inputs["mask"], bool))

    def loss(logits):
        logits = logits / hp["temperature"]
        top = support_of(hp, logits, teacher)
        return divergence_loss(
            vocabulary.at(logits, top.ids),
            top,
            weights,
            divergence=lambda x, t: top_k.jensen_shannon(x, t, beta=hp["beta"]),
            closure=closure_of(hp),
        ).value

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(inputs["student_logits"]))
    return {"loss": value, "grad_student_logits": gradient}


def iw_opd(hp, inputs):
    """No ratio: the reported value is that of the log-probability itself."""
    mask = jnp.asarray(inputs["mask"], bool)
    sequence = jnp.zeros_like(mask, int)
    advantages = teacher_log_ratio(
        jnp.asarray(inputs["rollout_log_prob"]),
        jnp.asarray(inputs["teacher_log_prob"]),
        mask,
    )
    extra = early_weights(advantages, sequence, mask, strength=hp["gamma"])
    credit, weights = extra * advantages, token_mean(mask)

    def loss(logits):
        logp = vocabulary.at(
            logits / hp["temperature"], jnp.asarray(inputs["tokens"])[..., None]
        )[..., 0]
        pull = policy_gradient(logp, logp, credit, weights, surrogate=reinforce).value
        value = -jnp.sum(weights * credit * jnp.where(mask, logp, 0.0))
        return pull, value

    gradient, value = jax.grad(loss, has_aux=True)(
        jnp.asarray(inputs["student_logits"])
    )
    return {
        "loss": value,
        "weights": extra,
        "advantages": credit,
        "grad_student_logits": gradient,
    }


def sdpo(hp, inputs):
    """On the student's tokens, whatever the divergence."""
    teacher = jnp.asarray(inputs["teacher_logits"])

    def loss(logits):
        top = vocabulary.student_top(logits, teacher, k=hp["top_k"])
        pair = closure_of(hp)(vocabulary.at(logits, top.ids), top)
        nats = top_k.jensen_shannon(*pair, beta=hp["alpha"])
        return nats.sum(), nats

    (_, nats), gradient = jax.value_and_grad(loss, has_aux=True)(
        jnp.asarray(inputs["student_logits"])
    )
    return {"per_token": nats, "grad_student_logits_of_sum": gradient}


ADAPTERS = {
    **{f"gkd_beta{beta}": gkd for beta in ("0.0", "0.1", "0.5", "0.9", "1.0")},
    **{
        f"topk_jsd_beta{beta}_{closure}": topk_jsd
        for beta in ("0.0", "0.5", "1.0")
        for closure in ("tail", "renorm")
    },
    "iw_opd": iw_opd,
    "sdpo_topk_tail": sdpo,
    "sdpo_topk_renorm": sdpo,
}
