"""Silo-Bench as a task for training: the policy plays every agent of a team."""

import asyncio
import dataclasses
import random
from collections.abc import Mapping, Sequence

from jaxrl.errors import UserError
from jaxrl.rollout.chat import ChatAgent, LimitReached, Reply, Tool
from jaxrl.rollout.environment import Judged, Outcome, TrainedPolicy
from jaxrl.rollout.types import Message, Problem
from jaxrl.tasks.silo.board import MakeBoard
from jaxrl.tasks.silo.environment import Environment, Rules, play
from jaxrl.tasks.silo.instances import MENDED, Instance, make_instance
from jaxrl.tasks.silo.metrics import cost_of, failings_of
from jaxrl.tasks.silo.scoring import mended_scores
from jaxrl.tasks.silo.wire import Wire

CHANNELS = 2
"""Reward channels: S, the share of right answers, and P, partial correctness."""


def seats(agents: int) -> dict[str, TrainedPolicy]:
    """A seat of the trained policy for each agent of a team."""
    return {_seat(agent): TrainedPolicy() for agent in range(agents)}


def problems(tasks: Sequence[str], instances: int, *, seed: int = 0) -> list[Problem]:
    """Instances to train on, each of a stream of its own.

    Args:
      tasks: Ids, as I-01.
      instances: Of each task.
      seed: Of the first one; that of the benchmark is 42.

    Raises:
      UserError: If there is no such task.
    """
    unknown = [task for task in tasks if task not in MENDED]
    if unknown:
        raise UserError(
            f"tasks has {', '.join(unknown)}; give some of {', '.join(MENDED)}"
        )
    return [
        Problem(f"{task} {number}", "", None, {"task": task, "seed": number})
        for number in range(seed, seed + instances)
        for task in tasks
    ]


def instance_of(problem: Problem, agents: int) -> Instance:
    """The instance of a problem from `problems`, for a team of so many agents."""
    task = MENDED[problem.extra["task"]]
    rng = random.Random(problem.extra["seed"])
    return make_instance(task, *task.draw(rng, agents))


@dataclasses.dataclass(frozen=True)
class SiloTeam:
    """A team of Silo-Bench; as `environment.Play`.

    Everyone gets what the team is worth, so that telling others what they need pays. An
    agent without room for another reply stays silent.

    Attributes:
      protocol: How agents exchange information.
      wire: How calls are written.
      rules: How a run goes; `Environment.max_turns` is at least its replies.
    """

    protocol: MakeBoard
    wire: Wire
    rules: Rules

    async def __call__(
        self, problem: Problem, agents: Mapping[str, ChatAgent]
    ) -> Outcome:
        """Play an episode."""
        instance = instance_of(problem, len(agents))
        run = Environment(instance, self.protocol, self.wire, self.rules)
        team = [_Silenced(agents[_seat(agent)]) for agent in range(instance.agents)]
        await play(run, team, limit=asyncio.Semaphore(instance.agents))
        answers = [(i, m.answer) for i, m in enumerate(run.members)]
        scores, cost = mended_scores(instance, answers), cost_of(run)
        rewards = (scores.success_rate, scores.partial or 0.0)
        submitted = sum(m.submitted is not None for m in run.members)
        numbers = {
            "success": float(scores.success),
            "submitted": submitted / instance.agents,
            "rounds": float(cost.rounds),
            "messages": float(cost.events),
            "invalid_replies": float(cost.invalid),
            "premature": float(failings_of(run).premature),
        }
        return Outcome(dict.fromkeys(agents, Judged(rewards)), numbers)


class _Silenced:
    """An agent that says nothing once it has no room."""

    def __init__(self, agent: ChatAgent):
        self._agent, self._spoke = agent, False

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        try:
            reply = await self._agent.reply(messages, tools)
        except LimitReached:
            # One that can't even read the task is a mistake of the config.
            if not self._spoke:
                raise
            return Reply("")
        self._spoke = True
        return reply


def _seat(agent: int) -> str:
    return f"agent_{agent}"
