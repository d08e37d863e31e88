"""GiGPO and HGPO of a public verl-agent fork: step returns, anchors, advantages."""

import jax.numpy as jnp
import numpy as np

from jaxrl.advantages.steps import (
    context_credit,
    episode_credit,
    first_of,
    step_advantages,
    step_credit,
)
from jaxrl.advantages.zscore import centre, moments, zscore
from jaxrl.rollout.anchors import (
    anchor_ids,
    context_ids,
    similar_anchor_ids,
    step_returns,
)
from jaxrl.types import Steps


def numbered(ids):
    """Any ids as 0, 1, ... in the order of their first appearance."""
    ids = np.asarray(ids).tolist()
    names = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    return np.array([names[name] for name in ids])


def returns(hp, inputs):
    trajectory = inputs["traj_id"].tolist()
    found = step_returns(inputs["step_rewards"], trajectory, discount=hp["gamma"])
    return {"returns": found}


def groups(hp, inputs):
    ids = anchor_ids(inputs["observation_id"].tolist(), inputs["group"].tolist())
    return {"step_group": ids}


def similar_groups(hp, inputs):
    ids = similar_anchor_ids(
        inputs["observation_text"].tolist(),
        inputs["group"].tolist(),
        threshold=hp["similarity_thresh"],
    )
    return {"step_group": ids}


def data(inputs):
    """Episode rewards, numbered tasks and trajectories."""
    rewards = jnp.asarray(inputs["token_level_rewards"].sum(1))
    names = (inputs["group"], inputs["traj_id"])
    return rewards, *(jnp.asarray(numbered(x)) for x in names)


def over_tokens(advantages, inputs):
    return {"advantages": advantages[:, None] * inputs["mask"]}


def episodes(hp, inputs):
    """Where all counted episodes are equal, theirs divides penalties by epsilon."""
    rewards, group, trajectory = data(inputs)
    every = jnp.ones_like(group, bool)
    counted = every if hp["compute_mean_std_cross_steps"] else first_of(trajectory)

    def credit(scaled):
        kept = {"num_groups": len(group), "scaled": scaled, "eps": hp["epsilon"]}
        return episode_credit(rewards, counted, group, **kept)

    if hp["mode"] == "mean_norm":
        return over_tokens(credit(False), inputs)
    pool = moments(rewards, counted, group, num_pools=len(group), ddof=1)
    flat = (pool.std == 0) & (pool.number > 1)
    found = jnp.where(flat, credit(False) / hp["epsilon"], credit(True))
    return over_tokens(found, inputs)


def steps(hp, inputs):
    anchor = jnp.asarray(numbered(inputs["step_group"]))
    found = step_credit(
        jnp.asarray(inputs["step_returns"]),
        anchor >= 0,
        anchor,
        0 * anchor,
        scaled=hp["mode"] == "mean_std_norm",
        eps=hp["epsilon"],
    )
    return over_tokens(found, inputs)


def gigpo(hp, inputs):
    rewards, group, _ = data(inputs)
    anchor = jnp.asarray(numbered(inputs["observation_id"]))
    found = step_advantages(
        rewards,
        Steps(anchor, jnp.asarray(inputs["step_returns"])),
        group,
        step_weight=hp["step_advantage_w"],
        scaled=hp["mode"] == "mean_std_norm",
    )
    return over_tokens(found, inputs)


def hgpo(hp, inputs):
    rewards, group, _ = data(inputs)
    scaled = hp["mode"] == "mean_std_norm"
    contexts = context_ids(
        inputs["observation_id"].tolist(),
        numbered(inputs["traj_id"]).tolist(),
        depth=hp["history_length"] + 1,
    )
    base = episode_credit(
        rewards, group >= 0, group, num_groups=len(group), scaled=scaled
    )
    found = context_credit(
        jnp.asarray(inputs["step_returns"]),
        jnp.asarray(contexts),
        group,
        normalise=zscore if scaled else centre,
        power=hp["length_weight_alpha"],
        base=base if hp["base_group"] else None,
        eps=hp["epsilon"],
    )
    return over_tokens(found, inputs)


MODES = ("mean_norm", "mean_std_norm")
ADAPTERS = {
    "step_returns": returns,
    "step_groups": groups,
    "step_groups_similarity": similar_groups,
    **{f"episode_{mode}": episodes for mode in MODES},
    **{f"episode_{mode}_per_trajectory": episodes for mode in MODES},
    **{f"step_{mode}": steps for mode in MODES},
    **{f"gigpo_{mode}": gigpo for mode in MODES},
    **{f"hgpo_{mode}{base}": hgpo for mode in MODES for base in ("", "_base")},
}
