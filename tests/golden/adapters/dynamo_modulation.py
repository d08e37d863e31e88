"""DynaMO's update of the actor: logits to loss, with advantages modulated inside."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.advantages.modulation import (
    compensation,
    dynamo,
    entropy_change_of_update,
    relative,
    stabilisation,
)
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import clipped, dual_clipped
from tests.golden.verl import weights_of


def constants(hp, inputs, logp, entropy):
    """Every factor of the modulation; the ratio's slope is their indicator times it."""
    mask = jnp.asarray(inputs["mask"], bool)
    rows = jnp.broadcast_to(jnp.arange(len(mask))[:, None], mask.shape)
    advantages = jnp.where(mask, inputs["advantages"], 0.0)
    slope = clipped(
        logp,
        jnp.asarray(inputs["old_log_prob"]),
        advantages,
        mask,
        low=hp["clip_ratio_low"],
        high=hp["clip_ratio_high_effective"],
    ).slope
    change = entropy_change_of_update(slope * advantages, logp, entropy, rows, mask)
    damping = {
        "floor": hp["lambda_min"],
        "sharpness": hp["gamma"],
        "threshold": hp["tau"],
    }
    modulated = dynamo(advantages, change, entropy, mask, **damping, boost=hp["mu_max"])
    share = relative(change, mask)
    return {
        "entropy_change_abs": jnp.abs(change),
        "x": share,
        "decay_factor": mask * stabilisation(share, **damping),
        "boost_factor": mask
        * compensation(advantages, entropy, mask, boost=hp["mu_max"]),
        "advantages_modulated": modulated,
    }


def adapter(hp, inputs):
    mask = jnp.asarray(inputs["mask"], bool)
    responses = jnp.asarray(inputs["responses"])[..., None]

    def logp_of(logits):
        every = jax.nn.log_softmax(logits / hp["temperature"])
        return jnp.take_along_axis(every, responses, -1)[..., 0], every

    logits = jnp.asarray(inputs["logits"])
    logp, every = logp_of(logits)
    entropy = -jnp.sum(jnp.exp(every) * every, -1)
    found = constants(hp, inputs, logp, entropy)
    surrogate = partial(
        dual_clipped,
        low=hp["clip_ratio_low"],
        high=hp["clip_ratio_high_effective"],
        cap=hp["clip_ratio_c"],
    )

    def loss(logp):
        return policy_gradient(
            logp,
            jnp.asarray(inputs["old_log_prob"]),
            found["advantages_modulated"],
            weights_of(hp, mask, empty_rows_count=True),
            surrogate=surrogate,
        ).value

    value, gradient = jax.value_and_grad(loss)(logp)
    by_logits = jax.grad(lambda x: jnp.vdot(logp_of(x)[0], gradient))(logits)
    return found | {
        "log_prob": logp,
        "entropy": entropy,
        "loss": value,
        "grad_logits": by_logits,
        "grad_log_prob": gradient,
    }


ADAPTERS = {"decay6": adapter, "decay5": adapter}
