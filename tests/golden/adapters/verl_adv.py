"""verl's advantage estimators. Rewards per token are summed, also where masked."""

import jax.numpy as jnp
import numpy as np

from jaxrl.advantages.baselines import (
    against_greedy,
    best_of_group,
    length_weighted_centred,
)
from jaxrl.advantages.groups import (
    group_centred,
    group_normalised,
    leave_one_out,
    lengths,
    spread,
)
from jaxrl.advantages.returns import discounted_returns, gae
from jaxrl.advantages.scaling import informative_rescaled
from jaxrl.advantages.token_baselines import gradient_energy, optimal_token_baseline
from jaxrl.advantages.whitening import whiten
from jaxrl.segments import segment_count, segment_std

TINY = 1e-8
"""What their masked means add to the number of tokens."""


def prepared(inputs):
    """Scores of rows, mask and sequences, and groups by number."""
    mask = jnp.asarray(inputs["mask"], bool)
    rows = jnp.broadcast_to(jnp.arange(len(mask))[:, None], mask.shape)
    scores = jnp.asarray(inputs["token_level_rewards"]).sum(-1)
    names = inputs.get("group", np.arange(len(mask)))
    group = jnp.asarray(np.unique(names, return_inverse=True)[1])
    return scores, group, rows, mask


def per_sequence(credit):
    """An estimator of one number per row, spread over the mask."""

    def adapter(hp, inputs):
        scores, group, rows, mask = prepared(inputs)
        tokens = spread(credit(hp, scores, group, rows, mask), rows, mask)
        return {"advantages": tokens, "returns": tokens}

    return adapter


def grpo(hp, scores, group, rows, mask):
    return group_normalised(scores, group, num_groups=len(group), eps=hp["epsilon"])


def grpo_vectorized(hp, scores, group, rows, mask):
    """Statistics in float32, the variance at least 1e-6."""
    single, number = scores.astype(jnp.float32), len(group)
    centred = group_centred(single, group, num_groups=number)
    std = jnp.maximum(segment_std(single, group, num_groups=number), 1e-3)
    alone = segment_count(group, num_groups=number) == 1
    scaled = centred / (jnp.where(alone, 1.0, std) + hp["epsilon"])
    return scaled.astype(scores.dtype)


def rloo(hp, scores, group, rows, mask):
    """A group of one keeps its score."""
    alone = segment_count(group, num_groups=len(group)) == 1
    return jnp.where(alone, scores, leave_one_out(scores, group, num_groups=len(group)))


def opo(hp, scores, group, rows, mask):
    tokens = lengths(rows, mask, num_sequences=len(group)).astype(scores.dtype)
    return length_weighted_centred(scores, tokens, group, num_groups=len(group))


def gpg(hp, scores, group, rows, mask):
    """Scores of 0 count as uninformative, whatever the group."""
    centred = group_centred(scores, group, num_groups=len(group))
    everything = jnp.ones_like(scores, bool)
    return informative_rescaled(centred, scores != 0, everything) / hp["f_norm"]


def grpo_passk(hp, scores, group, rows, mask):
    credit = best_of_group(scores, group, num_groups=len(group))
    if not hp["norm_adv_by_std_in_grpo"]:
        return credit
    return credit / (segment_std(scores, group, num_groups=len(group)) + hp["epsilon"])


def reinforce_plus_plus_baseline(hp, inputs):
    scores, group, rows, mask = prepared(inputs)
    centred = group_centred(scores, group, num_groups=len(group))
    tokens = whiten(spread(centred, rows, mask), mask)
    return {"advantages": tokens, "returns": tokens}


def reinforce_plus_plus(hp, inputs):
    """A hole cuts the return, and what stands on it is lost: runs are sequences.

    Returns are not masked: on a masked token the reward stands alone, plus what follows
    it, if that is a run.
    """
    rewards, mask = jnp.asarray(inputs["token_level_rewards"]), inputs["mask"] > 0
    starts = np.diff(mask.astype(int), axis=1, prepend=0) == 1
    run = jnp.asarray(np.where(mask, starts.cumsum(1), -1))
    returns = discounted_returns(rewards, run, mask, discount=hp["gamma"])
    ahead = jnp.pad(returns, [(0, 0), (0, 1)])[:, 1:]
    full = jnp.where(mask, returns, rewards + hp["gamma"] * ahead)
    return {"advantages": whiten(returns, jnp.asarray(mask)), "returns": full}


def remax(hp, inputs):
    """Outside of the mask stand the returns, without a baseline."""
    _, _, rows, mask = prepared(inputs)
    rewards = jnp.asarray(inputs["token_level_rewards"])
    returns = discounted_returns(rewards, rows, mask)
    advantages = against_greedy(
        returns, jnp.asarray(inputs["reward_baselines"]), rows, mask
    )
    everywhere = returns_everywhere(inputs, rows, mask)
    outside = jnp.where(mask, 0.0, everywhere)
    return {"advantages": advantages + outside, "returns": everywhere}


def gae_(hp, inputs):
    """Outside of the mask they carry the advantage of the next token on."""
    _, _, rows, mask = prepared(inputs)
    rewards, values = (
        jnp.asarray(inputs[x]) for x in ("token_level_rewards", "values")
    )
    inside, _ = gae(rewards, values, rows, mask, discount=hp["gamma"], decay=hp["lam"])
    raw = np.array(inside)
    for t in reversed(range(raw.shape[1] - 1)):
        raw[:, t] = np.where(mask[:, t], raw[:, t], raw[:, t + 1])
    count, mean = mask.sum(), raw[mask].mean()
    std = np.sqrt(((raw[mask] - mean) ** 2).sum() / (count - 1) + TINY)
    whitened = np.where(mask, whiten(inside, mask), (raw - mean) / std)
    return {"advantages": whitened, "raw_advantages": raw, "returns": raw + values}


def energy_of(inputs, rows, mask):
    logp, squares = (
        jnp.asarray(inputs[x]) for x in ("old_log_probs", "sum_pi_squared")
    )
    ratio = inputs.get("rollout_is_weights")
    return gradient_energy(logp, squares, rows, mask, ratio)


def returns_everywhere(inputs, rows, mask):
    """Returns that go on over masked tokens, whose rewards are dropped."""
    rewards = jnp.where(mask, inputs["token_level_rewards"], 0.0)
    return discounted_returns(rewards, rows, jnp.ones_like(mask))


def optimal_token_baseline_(hp, inputs):
    """Places are columns, and the tail is counted in tokens."""
    _, group, rows, mask = prepared(inputs)
    returns = returns_everywhere(inputs, rows, mask)
    energy = energy_of(inputs, rows, mask)
    baseline = optimal_token_baseline(
        returns, energy, rows, jnp.ones_like(mask), group, min_count=1
    )
    baseline = np.array(baseline)
    for row, start in tails(np.asarray(group), np.asarray(mask)).items():
        if hp["handle_zero_tail"]:
            baseline[row, start:] = 0
    baseline[np.asarray(segment_count(group, num_groups=len(group))) == 1] = 0
    return {
        "advantages": jnp.where(mask, returns - baseline, 0.0),
        "returns": returns,
    }


def tails(group, mask):
    """Longest row of each group, if there is one: where the second longest ends."""
    size, found = mask.sum(1), {}
    for own in set(group):
        rows = np.flatnonzero(group == own)
        order = rows[np.argsort(-size[rows], kind="stable")]
        if len(rows) > 1 and size[order[0]] > size[order[1]]:
            found[order[0]] = size[order[1]]
    return found


def tir_optimal_token_baseline(hp, inputs):
    _, group, rows, mask = prepared(inputs)
    returns = returns_everywhere(inputs, rows, mask)
    energy = energy_of(inputs, rows, mask)
    baseline = optimal_token_baseline(
        returns,
        energy,
        rows,
        mask,
        group,
        min_count=2 if hp["handle_zero_tail"] else 1,
    )
    alone = segment_count(group, num_groups=len(group)) == 1
    baseline = jnp.where(alone[:, None], 0.0, baseline)
    return {
        "advantages": jnp.where(mask, returns - baseline, 0.0),
        "returns": returns,
    }


ADAPTERS = {
    "grpo": per_sequence(grpo),
    "grpo_nostd": per_sequence(
        lambda hp, scores, group, *_: group_centred(
            scores, group, num_groups=len(group)
        )
    ),
    "grpo_vectorized": per_sequence(grpo_vectorized),
    "rloo": per_sequence(rloo),
    "rloo_vectorized": per_sequence(
        lambda hp, scores, group, *_: leave_one_out(
            scores, group, num_groups=len(group)
        )
    ),
    "opo": per_sequence(opo),
    "gpg": per_sequence(gpg),
    "grpo_passk": per_sequence(grpo_passk),
    "reinforce_plus_plus_baseline": reinforce_plus_plus_baseline,
    "reinforce_plus_plus": reinforce_plus_plus,
    "remax": remax,
    "gae": gae_,
    "optimal_token_baseline": optimal_token_baseline_,
    "tir_optimal_token_baseline": tir_optimal_token_baseline,
}
