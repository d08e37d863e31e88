"""Environments of verifiers (`verifiers.v1`), whose programs ask our agents over HTTP.

`pip install verifiers` brings about forty packages, some of which need accounts for
what they do; nothing here does, with harnesses in the `subprocess` runtime.

    part = SingleAgentEnvConfig(taskset={"id": "gsm8k-v1"}, agent={"runtime": ...})
    make = partial(SingleAgentEnv, part)
    Rollouts(problems(make, 1000), environment=Environment(plain(Verifiers(make))))

The model that a verifiers agent asks for is the name of a seat: "policy" where its
config pins none. Pin `model` where other seats play, a simulated user for instance.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxrl.errors import UserError
from jaxrl.rollout.chat import ChatAgent, LimitReached
from jaxrl.rollout.environment import Judged, Outcome
from jaxrl.rollout.offered import offered
from jaxrl.rollout.stage import in_thread
from jaxrl.rollout.types import SEAT, Failure, Problem
from jaxrl.tasks.adapters.optional import imported

REMEDY = "pip install 'verifiers>=0.4'"
NO_KEY = "JAXRL_NO_KEY"
"""Variable of the API key, which our server doesn't ask for."""


def problems(make: Callable[[], Any], count: int) -> list[Problem]:
    """The first tasks of an environment's taskset.

    Args:
      make: The environment.
      count: Number of tasks, at most.
    """
    tasks = itertools.islice(make().taskset, count)
    return [
        Problem(f"task {place}", f"{task.data.prompt or ''}", None, {"task": place})
        for place, task in enumerate(tasks)
    ]


@dataclasses.dataclass(frozen=True)
class Verifiers:
    """One episode of a verifiers environment; as `environment.Play`.

    A seat's reward is that of its trace, the mean where it has several; metrics are
    logged. Whether an agent is trained, the environment may deny.

    Attributes:
      make: The environment, anew for each episode, so that none waits for another.
    """

    make: Callable[[], Any]

    async def __call__(
        self, problem: Problem, agents: Mapping[str, ChatAgent]
    ) -> Outcome:
        """Play an episode."""
        library = imported("verifiers.v1", REMEDY)
        # Both may load data and models.
        env = await in_thread(self.make)
        task = await in_thread(_task, env, problem)
        async with offered(agents) as offer, env.serving():
            client = library.EvalClientConfig(base_url=offer.url, api_key_var=NO_KEY)
            context = library.ModelContext(model=SEAT, client=client)
            episode = await env.run_episode(task, context)
        out_of_room = isinstance(offer.error, LimitReached)
        if offer.error is not None and not (episode.ok and out_of_room):
            # Even if the program went on without: it would be judged for our failure.
            raise offer.error
        if episode.ok:
            return _outcome(episode.traces, None)
        errors = [*episode.errors, *(e for t in episode.traces for e in t.errors)]
        told = f"{errors[0].type}: {errors[0].message}" if errors else "it is not ok"
        return _outcome(episode.traces, Failure("error", told))


def _task(env: Any, problem: Problem) -> Any:
    """The task of a problem, by its place."""
    place = problem.extra.get("task")
    known = isinstance(place, int) and place >= 0
    task = next(itertools.islice(env.taskset, place, None), None) if known else None
    if task is None:
        raise UserError(
            f"problem {problem.id!r} has extra['task'] {place!r}, and the taskset has "
            "no such place; give problems that jaxrl.tasks.adapters.verifiers.problems "
            "made of the same environment"
        )
    return task


def _outcome(traces: Sequence[Any], failure: Failure | None) -> Outcome:
    """What the environment says of each seat."""
    by_seat: dict[str, list[Any]] = {}
    numbers: dict[str, float] = {}
    for trace in traces:
        by_seat.setdefault(trace.agent.config.model, []).append(trace)
        found = {k: v for k, v in trace.metrics.items() if v is not None}
        numbers |= {f"verifiers_{name}": float(v) for name, v in found.items()}
    judged = {
        seat: Judged(
            (sum(float(trace.reward) for trace in own) / len(own),),
            trainable=all(trace.agent.trainable for trace in own),
        )
        for seat, own in by_seat.items()
    }
    return Outcome(judged, numbers, failure)
