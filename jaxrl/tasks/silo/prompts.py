"""What agents are told: in neutral words, or with the hints that the release gives."""

from collections.abc import Callable

from jaxrl.tasks.silo.instances import Instance
from jaxrl.tasks.silo.task import Task

Prompt = Callable[[Instance, int], str]
"""An instance and an agent to the text of the task with the agent's shard."""

PLANNING = (
    "Before the first round, plan: how will the team solve this, and what is your part "
    "in it? Write the plan only; no tool can be used yet, and nobody else reads it."
)
SCRATCHPAD = (
    "Keep notes in your replies of what you know, what you have sent and what you "
    "still need; you will see them again in later rounds."
)
NO_CALL = "Your reply contained no valid tool call"
_RESULTS_LATER = "it. You see the results when the next round begins."
_RESULTS_AT_ONCE = "your round. You see the results before you reply again."
_TOPOLOGY = {
    "I": (
        "The best way to communicate is a star or a tree: one agent collects what the "
        "others found, and tells them the result."
    ),
    "II": (
        "The best way to communicate is a chain, 0 -> 1 -> ... -> {last}: each agent "
        "passes on to the next one what that needs."
    ),
    "III": (
        "The best way to communicate is all to all: every agent gives every other one "
        "what it needs."
    ),
}


def system_message(
    agent: int,
    agents: int,
    *,
    rounds: int,
    calls: int,
    protocol: str,
    tools: str,
    hint: str,
) -> str:
    """Who the agent is, what the team must do, and the rules of rounds.

    Args:
      agent: Its id.
      agents: Size of the team.
      rounds: Number of rounds after which the run ends.
      calls: Replies of an agent in each round, at most.
      protocol: How information is exchanged.
      tools: How tools are called.
      hint: Further advice; may be empty.
    """
    parts = [
        f"You are agent {agent} of a team of {agents} agents, with ids from 0 to "
        f"{agents - 1}. All agents are alike; none has a special role.",
        "Each agent holds one part of an input. No agent can solve the task from its "
        "own part. Find out which information you depend on, choose a strategy, "
        "exchange no more than is needed, and agree on the result.",
        "Every single agent must submit its answer with submit_result, once. An agent "
        "that submits nothing counts as wrong, and one that has submitted can neither "
        "send nor receive any more.",
        protocol,
        f"There are at most {rounds} rounds. In each round every agent replies "
        f"{'once' if calls == 1 else f'up to {calls} times'}, all at the same time. A "
        "reply may call several tools, in order; wait and submit_result end "
        f"{_RESULTS_LATER if calls == 1 else _RESULTS_AT_ONCE}",
        tools,
        hint,
    ]
    if agents == 1:
        parts[0:3] = ["You solve a task alone. Submit your answer with submit_result."]
    return "\n\n".join(filter(None, parts))


def reminder(protocol: str, rounds_left: int) -> str:
    """What the ablation says again in each round."""
    return f"Remember: {protocol} Rounds left: {rounds_left}."


def neutral(instance: Instance, agent: int) -> str:
    """The task, on what the answer depends, and the shard; no topology, no steps."""
    task = instance.task
    depends = (
        "The answer depends on the shards of several agents."
        if instance.agents > 1
        else ""
    )
    parts = [
        _filled(task.goal, instance),
        depends,
        _order(task) if instance.agents > 1 else "",
        f"Submit {_filled(task.answer, instance)}.",
        f"Your shard:\n{instance.shards[agent]}",
    ]
    return "\n\n".join(filter(None, parts))


def released(instance: Instance, agent: int) -> str:
    """The task in the sections of the release, which name the best topology."""
    task = instance.task
    topology = _TOPOLOGY[task.level].format(last=instance.agents - 1)
    sections = {
        "Task": _filled(task.goal, instance),
        "Your data": f"{instance.shards[agent]}",
        "Ordering": _order(task),
        "Algorithm": _filled(task.method, instance),
        "Output": f"Submit {_filled(task.answer, instance)}.",
        "Communication protocol": topology if instance.agents > 1 else "",
    }
    return "\n\n".join(f"## {name}\n{text}" for name, text in sections.items() if text)


PROMPTS: dict[str, Prompt] = {"neutral": neutral, "release": released}
"""By the names of the benchmark."""


def _order(task: Task) -> str:
    if task.ordered:
        return (
            "The shards, in the order of agent ids, are consecutive parts of one whole."
        )
    return "The order of the shards does not matter."


def _filled(text: str, instance: Instance) -> str:
    return text.format_map(instance.parameters)
