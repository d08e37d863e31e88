"""A critic: a copy of the policy's decoder with one number where the logits were.

Its parameters travel with the policy's, under one name, so that one optimizer, one
checkpoint and one compiled step serve both: `{**policy, "critic": critic}`.
"""

import chex
import jax
import jax.numpy as jnp

from jaxrl.scoring import predicting_states
from jaxrl.types import Array, Batch, Params
from models.api import LanguageModel

NAME = "critic"


def with_critic(policy: Params) -> Params:
    """Add a critic that starts from the policy's decoder and values everything at 0.

    Args:
      policy: Parameters of the policy, a dictionary.

    Returns:
      The policy and the critic; no array is shared, so both may be donated.
    """
    # What turns states into logits is of no use to a critic.
    body = {name: x for name, x in policy.items() if name != "unembedding"}
    width = policy["norm"]["scale"].shape[-1]
    value = {
        "kernel": jnp.zeros(width, policy["norm"]["scale"].dtype),
        "bias": jnp.zeros(1, policy["norm"]["scale"].dtype),
    }
    return {**policy, NAME: {**jax.tree.map(jnp.copy, body), "value": value}}


def without_critic(params: Params) -> Params:
    """The policy alone, which is what samples and what is exported."""
    return {name: x for name, x in params.items() if name != NAME}


def of_critic(params: Params) -> Params:
    """Which parameters are the critic's: a bool for each."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == NAME, params)


def values(model: LanguageModel, params: Params, batch: Batch) -> Array:
    """Expected return before each token is sampled, as the critic sees it.

    Args:
      model: The decoder, of policy and critic.
      params: With a critic; differentiable in it.
      batch: Tokens [N, T].

    Returns:
      float32 [N, T], in units of reward; 0 where `batch.mask` is False.
    """
    critic = params[NAME]
    hidden = predicting_states(model, critic, batch)
    chex.assert_rank(hidden, 3)
    kernel, bias = (critic["value"][x].astype(jnp.float32) for x in ("kernel", "bias"))
    found = hidden.astype(jnp.float32) @ kernel + bias[0]
    return jnp.where(batch.mask, found, 0.0)
