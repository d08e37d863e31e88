"""SelSkill: DPO on mean log-probabilities, uncertainty, and the branch window."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.divergences.vocabulary import at
from jaxrl.losses.preference import averaged, logistic, preference
from jaxrl.rollout.branches import branch_window, decision_entropy

ROLES = {-1: "", 0: "system", 1: "user", 2: "assistant", 3: "tool"}


def mean_logprob_dpo(hp, inputs):
    mask = jnp.asarray(inputs["loss_mask"], bool)[:, 1:]
    ids = jnp.asarray(inputs["input_ids"])[:, 1:, None]
    pair_loss = partial(logistic, beta=hp["beta"])

    def mean_logp(logits):
        return averaged(at(logits[:, :-1], ids)[..., 0], mask, mask)

    ref = mean_logp(jnp.asarray(inputs["ref_logits"]))

    def loss(logits):
        found = mean_logp(logits)
        sides = (*jnp.split(found, 2), *jnp.split(ref, 2))
        weights = jnp.full(len(sides[0]), 1 / len(sides[0]))
        loss = preference(*sides, weights, pair_loss=pair_loss)
        return loss.value, (found, sides, loss.metrics)

    (value, (found, sides, metrics)), gradient = jax.value_and_grad(loss, has_aux=True)(
        jnp.asarray(inputs["policy_logits"])
    )
    c, j, rc, rj = sides
    return {
        "policy_mean_log_prob": found,
        "ref_mean_log_prob": ref,
        "dpo_logit": hp["beta"] * ((c - rc) - (j - rj)),
        "loss": value,
        "grad_policy_logits": gradient,
        "reward_margin": hp["beta"] * metrics["margin"].result(),
        "accuracy": metrics["accuracy"].result(),
    }


def entropy(hp, inputs):
    found = decision_entropy(inputs["top_logprobs"], tokens=hp["n_tokens"])
    return {"entropy": np.float64(found)}


def branch_loss_mask(hp, inputs):
    """Tokens of the trained messages; "this turn only" is a window of one turn."""
    rows = zip(
        inputs["roles"],
        inputs["message_tokens"],
        inputs["branch_index"],
        inputs["branch_turn_n"],
        inputs["branch_turn_only"],
        strict=True,
    )
    mask = np.zeros((len(inputs["roles"]), hp["max_length"]), int)
    for row, (roles, tokens, branch, turns, only) in enumerate(rows):
        names = [ROLES[int(r)] for r in roles]
        trained = branch_window(names, int(branch), turns=1 if only else int(turns))
        spans = np.repeat(np.array(trained), tokens)[: hp["max_length"]]
        mask[row, : len(spans)] = spans
    return {"loss_mask": mask}


ADAPTERS = {
    "mean_logprob_dpo": mean_logprob_dpo,
    "decision_entropy": entropy,
    "branch_loss_mask": branch_loss_mask,
}
