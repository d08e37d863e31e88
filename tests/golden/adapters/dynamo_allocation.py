"""DynaMO's statistics of prompts and its allocation of samples."""

from functools import partial

import numpy as np

from jaxrl.rollout.allocation import Budget, multi_round, priority
from jaxrl.rollout.difficulty import PromptStatistics


def priority_(hp, inputs):
    return {"priority": rule(hp)(inputs["sample_count"], inputs["positive_count"])}


def rule(hp):
    return partial(
        priority,
        mastered=hp["mastery_threshold"],
        floor=hp["min_priority"],
        initial=hp["initial_budget"],
    )


def listed(statistics, prompts):
    """Counts and priorities of the prompts 0, 1, ..., as arrays."""
    names = [str(i) for i in range(prompts)]
    samples, priorities = statistics.of(names)
    successes = [statistics.successes.get(name, 0) for name in names]
    return samples, np.array(successes), priorities


def stats_update(hp, inputs):
    prompts = int(inputs["prompt_index"].max()) + 1
    statistics = PromptStatistics().updated(
        [str(i) for i in inputs["prompt_index"]], inputs["reward"]
    )
    samples, successes, priorities = listed(statistics.refreshed(rule(hp)), prompts)
    return {
        "sample_count": samples,
        "positive_count": successes,
        "priority": priorities,
    }


def recipe_variant(hp, inputs):
    """A sample is positive above the mean of the call, and another rule of priority.

    The data set has one prompt more than the call names.
    """

    def other_rule(samples, successes):
        rate = successes / samples
        varied = np.maximum(4 * rate * (1 - rate), hp["min_priority"])
        return np.where(rate >= hp["mastery_threshold"], hp["min_priority"], varied)

    above = inputs["reward"] - inputs["reward"].mean()
    prompts = int(inputs["prompt_index"].max()) + 2
    statistics = PromptStatistics().updated(
        [str(i) for i in inputs["prompt_index"]], above
    )
    samples, successes, priorities = listed(statistics.refreshed(other_rule), prompts)
    return {
        "sample_count": samples,
        "positive_count": successes,
        "priority": np.where(samples == 0, 1.0, priorities),
    }


def allocation(hp, inputs):
    """Rows are problems, padded with -1."""
    rollouts = np.full(inputs["sample_count"].shape, -1)
    for row, number in enumerate(inputs["n_prompts"]):
        rollouts[row, :number] = multi_round(
            inputs["sample_count"][row, :number],
            inputs["priority"][row, :number],
            Budget(
                total=inputs["total"][row],
                lowest=inputs["n_min"][row],
                highest=inputs["n_max"][row],
                initial=inputs["initial_budget"][row],
            ),
        )
    return {"rollouts": rollouts}


ADAPTERS = {
    "priority": priority_,
    "stats_update": stats_update,
    "recipe_variant_stats_update": recipe_variant,
    "allocation": allocation,
}
