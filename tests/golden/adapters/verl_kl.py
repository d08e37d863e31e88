"""verl's estimates of a KL divergence, and what it does with them."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.divergences.samples import absolute, k1, k2, k3
from jaxrl.losses.penalty import adaptive_coefficient, kl_penalty
from tests.golden.verl import weights_of


def limited_k3(logp, other_logp):
    """Theirs limits the estimate, too."""
    return jnp.clip(k3(logp, other_logp), -10.0, 10.0)


def penalised(estimator, hp, inputs):
    logp, ref_logp = (jnp.asarray(inputs[x]) for x in ("log_prob", "ref_log_prob"))
    weights = weights_of(hp, inputs["mask"])

    def loss(logp):
        return kl_penalty(logp, ref_logp, weights, estimator=estimator).value

    value, gradient = jax.value_and_grad(loss)(logp)
    kl = jnp.where(inputs["mask"] != 0, estimator(logp, ref_logp), 0.0)
    return {"kl": kl, "loss": value, "grad_log_prob": gradient}


def reward_with_kl(hp, inputs):
    old_logp, ref_logp = (inputs[x] for x in ("old_log_prob", "ref_log_prob"))
    penalty = hp["kl_ratio"] * k1(jnp.asarray(old_logp), jnp.asarray(ref_logp))
    rewards = inputs["token_level_scores"] - penalty
    return {"token_level_rewards": jnp.where(inputs["mask"] != 0, rewards, 0.0)}


def adaptive(hp, inputs):
    coef, found = jnp.asarray(hp["init_kl_coef"]), []
    for kl in jnp.asarray(inputs["current_kl"]):
        coef = adaptive_coefficient(
            coef,
            kl,
            target=hp["target_kl"],
            horizon=hp["horizon"],
            samples=hp["n_steps"],
        )
        found.append(coef)
    return {"kl_coef": jnp.stack(found)}


ADAPTERS = {
    "kl_k1": partial(penalised, k1),
    "kl_abs": partial(penalised, absolute),
    "kl_k2": partial(penalised, k2),
    "kl_k3": partial(penalised, limited_k3),
    "reward_with_kl": reward_with_kl,
    "adaptive_kl_controller": adaptive,
}
