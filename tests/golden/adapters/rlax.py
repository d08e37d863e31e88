"""rlax: rows of steps with a discount each; 0 ends an episode, the last bootstraps."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.advantages.returns import following, gae, lambda_returns, n_step_returns
from jaxrl.advantages.vtrace import vtrace
from jaxrl.losses.policy import policy_gradient
from jaxrl.surrogates.clipping import clipped


def prepared(inputs, values, ahead, mask):
    """Episodes as sequences, and rewards with what their last step bootstraps from.

    Their next value is that of the next column, masked or not; ours is that of the next
    trained token, and 0 at the end.

    Returns:
      Rewards, sequence, mask and the discount of steps that go on.
    """
    discounts = inputs["discounts"]
    ends = (discounts == 0) & mask
    sequence = jnp.asarray(np.cumsum(ends, axis=1) - ends)
    mask, discount = jnp.asarray(mask), float(discounts.max())
    seen = discount * following(values, sequence, mask)
    rewards = jnp.asarray(inputs["rewards"]) + discounts * ahead - seen
    return rewards, sequence, mask, discount


def with_next_values(kernel):
    """Returns that need no value of the step itself."""

    def adapter(hp, inputs):
        ahead = jnp.asarray(inputs["values_next"])
        values = jnp.pad(ahead, [(0, 0), (1, 0)])[:, :-1]
        every = np.ones(ahead.shape, bool)
        rewards, sequence, mask, discount = prepared(inputs, values, ahead, every)
        return {"returns": kernel(hp, rewards, values, sequence, mask, discount)}

    return adapter


def lambda_(hp, rewards, values, sequence, mask, discount):
    return lambda_returns(
        rewards, values, sequence, mask, discount=discount, decay=hp["lambda_"]
    )


def n_step(hp, rewards, values, sequence, mask, discount):
    return n_step_returns(
        rewards, values, sequence, mask, discount=discount, steps=hp["n"]
    )


def truncated_gae(hp, inputs):
    values = jnp.asarray(inputs["values"])
    now, ahead = values[:, :-1], values[:, 1:]
    every = np.ones(now.shape, bool)
    rewards, sequence, mask, discount = prepared(inputs, now, ahead, every)
    advantages, _ = gae(
        rewards, now, sequence, mask, discount=discount, decay=hp["lambda_"]
    )
    return {"advantages": advantages}


def vtrace_(hp, inputs):
    """Masked steps carry the errors on, and have estimates of their own."""
    values, rho = jnp.asarray(inputs["values"]), jnp.asarray(inputs["rho"])
    now, ahead = values[:, :-1], values[:, 1:]
    rewards, sequence, mask, discount = prepared(
        inputs, now, ahead, inputs["sample_mask"]
    )
    advantages, targets = vtrace(
        rewards,
        now,
        rho,
        sequence,
        mask,
        discount=discount,
        decay=hp["lambda_"],
        cap=hp["clip_rho_threshold"],
        advantage_cap=hp["clip_pg_rho_threshold"],
    )
    errors = np.array(jnp.where(mask, targets - now, 0.0))
    for t in reversed(range(errors.shape[1] - 1)):
        errors[:, t] = np.where(mask[:, t], errors[:, t], errors[:, t + 1])
    caps = jnp.minimum(hp["clip_pg_rho_threshold"], rho)
    carried = np.pad(errors, [(0, 0), (0, 1)])[:, 1:]
    theirs = inputs["rewards"] + inputs["discounts"] * (ahead + hp["lambda_"] * carried)
    estimate = jnp.where(mask, advantages / caps + now, theirs)

    def value_loss(now):
        constant = jax.lax.stop_gradient(now + errors)
        return 0.5 * jnp.mean((constant - now) ** 2)

    loss, gradient = jax.value_and_grad(value_loss)(now)
    return {
        "errors": errors,
        "pg_advantage": jnp.where(mask, advantages, caps * (theirs - now)),
        "q_estimate": estimate,
        "value_loss": loss,
        "grad_values": gradient,
    }


def clipped_surrogate(hp, inputs):
    advantages = jnp.asarray(inputs["advantages"])
    weights = jnp.full_like(advantages, 1 / advantages.size)

    def loss(log_ratio):
        def surrogate(*args):
            return clipped(*args, low=hp["epsilon"], high=hp["epsilon"])

        old = jnp.zeros_like(log_ratio)
        return policy_gradient(
            log_ratio, old, advantages, weights, surrogate=surrogate
        ).value

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(inputs["log_ratio"]))
    return {"loss": value, "grad_log_ratio": gradient}


ADAPTERS = {
    "vtrace": vtrace_,
    "truncated_gae": truncated_gae,
    "lambda_returns": with_next_values(lambda_),
    "n_step_returns": with_next_values(n_step),
    "clipped_surrogate": clipped_surrogate,
}
