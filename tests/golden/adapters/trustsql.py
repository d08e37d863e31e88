"""TRUST-SQL's release: two tracks by group, their losses, and REINFORCE++ returns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.advantages.channels import added, magnified, track
from jaxrl.advantages.returns import discounted_returns
from jaxrl.advantages.whitening import whiten
from jaxrl.losses.policy import policy_gradient
from jaxrl.masking import masked_mean, masked_sum
from jaxrl.surrogates.clipping import clipped
from jaxrl.surrogates.sequence import gspo


def place(inputs):
    """Which tokens exist, and which of them belong to the schema; bool [N, T]."""
    columns = np.arange(inputs["token_rewards"].shape[1])[None, :]
    exists = columns < inputs["response_length"][:, None]
    return jnp.asarray(exists), jnp.asarray(columns < inputs["schema_end"][:, None])


def rewards_of(inputs):
    """Answer and schema reward, float [N] each; -1 for the answer means aborted."""
    rows = np.arange(len(inputs["token_rewards"]))
    end, length = inputs["schema_end"], inputs["response_length"]
    rewards = jnp.asarray(inputs["token_rewards"])
    return rewards[rows, length - 1], jnp.where(end > 0, rewards[rows, end - 1], 0.0)


def tracks(hp, inputs):
    """Advantages of the answer on all tokens and of the schema on its own."""
    exists, routed = place(inputs)
    answer, schema = rewards_of(inputs)
    group = jnp.arange(len(answer)) // hp["n_samples_per_prompt"]
    credit = partial(track, counted=answer != -1, group=group, num_groups=len(answer))
    answer, schema = (credit(x)[:, None] for x in (answer, schema))
    return jnp.where(exists, answer, 0.0), jnp.where(routed, schema, 0.0)


def dual(hp, inputs):
    answer, schema = tracks(hp, inputs)
    return {"answer_advantages": answer, "schema_advantages": schema}


def weighted(hp, inputs):
    answer, schema = tracks(hp, inputs)
    _, routed = place(inputs)
    weight = hp["schema_advantage_weight"]
    return {"advantages": added(answer, schema, routed, weight=weight)}


def reward_weighted(hp, inputs):
    answer, _ = tracks(hp, inputs)
    _, routed = place(inputs)
    _, schema = rewards_of(inputs)
    schema = jnp.broadcast_to(schema[:, None], routed.shape)
    weight = hp["schema_policy_loss_weight"]
    return {"advantages": magnified(answer, schema, routed, weight=weight)}


def whitened(x, mask):
    """Theirs whitens what is masked too, with the statistics of the rest."""
    mean = masked_mean(x, mask)
    variance = masked_sum((x - mean) ** 2, mask) / jnp.maximum(mask.sum() - 1, 1)
    outside = (x - mean) / jnp.sqrt(variance + 1e-8)
    return jnp.where(mask, whiten(x, mask), outside)


def reinforce(hp, inputs, *, segmented):
    """Returns flow over masked tokens, too; segments are whitened apart."""
    exists, routed = place(inputs)
    mask = jnp.asarray(inputs["mask"], bool) & exists
    rewards = jnp.asarray(inputs["token_rewards"] - hp["kl_coef"] * inputs["kl"])
    segment = jnp.where(exists, routed.astype(int) if segmented else 0, -1)
    returns = discounted_returns(rewards, segment, exists, discount=hp["gamma"])
    parts = [segment == s for s in ((0, 1) if segmented else (0,))]
    found = sum(jnp.where(p, whitened(returns, mask & p), 0.0) for p in parts)
    return {"returns": returns, "advantages": found}


def losses(hp, inputs):
    """Sums over rows of means over tokens, or over tokens; two tracks."""
    exists, routed = place(inputs)
    mask = jnp.asarray(inputs["mask"], bool) & exists
    surrogate = gspo if hp["advantage_estimator"] == "gspo" else clipped
    surrogate = partial(surrogate, low=hp["eps_clip"], high=hp["eps_clip_high"])
    old = jnp.asarray(inputs["old_log_prob"])
    answer, schema = tracks(hp, inputs)

    def one(logp, advantages, tokens):
        weights = tokens.astype(logp.dtype)
        if not hp["calculate_per_token_loss"]:
            weights /= jnp.maximum(weights.sum(1, keepdims=True), 1)
        trust = surrogate(logp, old, advantages, tokens)
        clips = masked_sum(weights * (trust.slope == 0), tokens)
        trusted = weights * importance_of(hp, inputs, tokens)
        loss = policy_gradient(logp, old, advantages, trusted, surrogate=surrogate)
        return loss.value, clips

    def total(logp):
        schema_loss, schema_clips = one(logp, schema, mask & routed)
        answer_loss, answer_clips = one(logp, answer, mask)
        value = (
            hp["schema_policy_loss_weight"] * schema_loss
            + hp["answer_policy_loss_weight"] * answer_loss
        )
        return value, {
            "loss_sum": value,
            "schema_pg_loss_sum": schema_loss,
            "answer_pg_loss_sum": answer_loss,
            "schema_clipfrac_sum": schema_clips,
            "answer_clipfrac_sum": answer_clips,
        }

    logp = jnp.asarray(inputs["log_prob"])
    gradient, found = jax.grad(total, has_aux=True)(logp)
    return {**found, **dual(hp, inputs), "grad_log_prob": gradient}


def importance_of(hp, inputs, tokens):
    """Truncated importance of trainer against sampler, as a constant weight."""
    if not hp["use_tis"]:
        return 1.0
    gap = jnp.where(tokens, inputs["old_log_prob"] - inputs["rollout_log_prob"], 0.0)
    return jnp.clip(jnp.exp(gap), hp["tis_clip_low"], hp["tis_clip"])


ADAPTERS = {
    "dual_track_advantages": dual,
    "weighted_schema_advantage": weighted,
    "schema_reward_weighted": reward_weighted,
    "rpp_global": partial(reinforce, segmented=False),
    "rpp_segmented": partial(reinforce, segmented=True),
    "dual_track_loss": losses,
    "dual_track_loss_tis": losses,
    "dual_track_loss_gspo": losses,
}
