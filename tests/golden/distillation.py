"""What the adapters of AOPD and SCOPE share: verl forks that train from logits."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.divergences.samples import k1, k2, k3
from jaxrl.losses.penalty import kl_penalty
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import dual_clipped
from jaxrl.types import TopK

ESTIMATORS = {"kl": k1, "mse": k2, "low_var_kl": k3}


def array(x):
    return jnp.asarray(x)


def log_softmax(hp, logits):
    return jax.nn.log_softmax(logits / hp["temperature"])


def at_ids(logp, ids):
    """Of the log-probabilities [N, T, V], those of ids [N, T, K]."""
    return jnp.take_along_axis(logp, array(ids), axis=-1)


def of_responses(logp, inputs):
    return at_ids(logp, inputs["responses"][..., None])[..., 0]


def top_of(ids, logp):
    return TopK(array(ids), array(logp), jnp.ones(ids.shape, bool))


def clipped_policy(hp, inputs, logp, advantages, weights):
    surrogate = partial(
        dual_clipped,
        low=hp["clip_ratio_low"],
        high=hp["clip_ratio_high"],
        cap=hp["clip_ratio_c"],
    )
    old = array(inputs["old_log_prob"])
    return policy_gradient(logp, old, advantages, weights, surrogate=surrogate).value


def estimator_of(hp):
    """What distance from the teacher; the release limits k3 to 10 nats."""
    estimator = ESTIMATORS[hp["distill_loss_type"]]
    if estimator is not k3:
        return estimator
    return lambda logp, other: jnp.clip(k3(logp, other), -10.0, 10.0)


def sampled_kl(hp, inputs, logp, weights):
    """The distance from the teacher as a loss."""
    teacher = array(inputs["teacher_log_prob"])
    return kl_penalty(logp, teacher, weights, estimator=estimator_of(hp)).value
