"""Environments that are stepped from outside, as Gymnasium's, played as tasks."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from jaxrl.errors import UserError
from jaxrl.rollout.chat import ChatAgent, LimitReached
from jaxrl.rollout.environment import Judged, Outcome
from jaxrl.rollout.stage import in_thread
from jaxrl.rollout.types import Message, Problem, prompt_messages

T = TypeVar("T")


class Seen(NamedTuple):
    """What an agent is shown, and what its last action has come to.

    Attributes:
      text: For the agent.
      state: That recurs where the environment is in the same state, see
        `Judged.anchors`; None takes the text.
      reward: Since the agent acted, or since the beginning.
      terminated: The task has come to its end.
      truncated: It was cut off, by the environment.
      valid: The last reply was an action.
      numbers: What to log of the episode, if this is its end.
    """

    text: str
    state: Any = None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    valid: bool = True
    numbers: Mapping[str, float] = {}

    @property
    def over(self) -> bool:
        """Whether the agent acts no more."""
        return self.terminated or self.truncated


class Stepped(Protocol):
    """One episode of an environment; its functions may block."""

    def reset(self) -> Mapping[str, Seen]:
        """Begin, and show the agents that are to act what they need."""
        ...

    def step(self, said: Mapping[str, str]) -> Mapping[str, Seen]:
        """Carry out replies.

        Args:
          said: By the agents that were shown something and are not over.

        Returns:
          What the next agents to act are shown, and others whose part is over.
        """
        ...

    def close(self) -> None:
        """Free what the episode holds."""
        ...


Show = Callable[[Problem, Sequence[Seen], Sequence[str]], Sequence[Message]]
"""The conversation of an agent from all that it saw and said; the latest is seen."""


def dialogue(
    problem: Problem, seen: Sequence[Seen], said: Sequence[str]
) -> list[Message]:
    """Show all of the past; the problem's prompt stands before what is seen first.

    Both are one message, unless the prompt is messages that end with another role.

    Args:
      problem: The task.
      seen: One more than was said.
      said: So far.
    """
    messages = _shown_first(problem, seen[0])
    for reply, then in zip(said, seen[1:], strict=True):
        messages.append({"role": "assistant", "content": reply})
        messages.append({"role": "user", "content": then.text})
    return messages


def latest(
    problem: Problem, seen: Sequence[Seen], said: Sequence[str]
) -> list[Message]:
    """Show the problem's prompt and what is seen now, where that says everything.

    Turns don't extend each other then: see `Environment.turns_apart`.

    Args:
      problem: The task.
      seen: The last one is shown.
      said: Is not shown.
    """
    del said
    return _shown_first(problem, seen[-1])


def _shown_first(problem: Problem, seen: Seen) -> list[Message]:
    messages = prompt_messages(problem)
    # Chat templates refuse two turns of the user in a row.
    asked = messages.pop()["content"] if messages[-1]["role"] == "user" else ""
    return [*messages, {"role": "user", "content": f"{asked}\n\n{seen.text}".strip()}]


def seeded(count: int, *, first: int = 0, prompt: str = "") -> list[Problem]:
    """Problems that differ in the seed of their environment.

    Args:
      count: Number of problems.
      first: Seed of the first one; the others follow.
      prompt: Instructions that are shown before what the environment shows.
    """
    seeds = range(first, first + count)
    return [Problem(f"seed {s}", prompt, None, {"seed": s}) for s in seeds]


def seed_of(problem: Problem) -> int:
    """The seed that a problem gives its environment.

    Raises:
      UserError: If it has none.
    """
    seed = problem.extra.get("seed")
    if not isinstance(seed, int):
        raise UserError(
            f"problem {problem.id!r} has extra['seed'] {seed!r}; give an integer, as "
            "jaxrl.tasks.adapters.stepped.seeded does"
        )
    return seed


@dataclasses.dataclass
class Part:
    """What one agent has seen and said in an episode.

    Attributes:
      seen: Everything that it was shown.
      said: Its replies.
      rewards: Of its replies.
      penalties: Of its replies, for those that were no action.
      early: Reward from before its first reply.
      invalid: Replies that were no action.
    """

    seen: list[Seen] = dataclasses.field(default_factory=list)
    said: list[str] = dataclasses.field(default_factory=list)
    rewards: list[float] = dataclasses.field(default_factory=list)
    penalties: list[float] = dataclasses.field(default_factory=list)
    early: float = 0.0
    invalid: int = 0

    def take(self, seen: Seen, invalid_penalty: float) -> None:
        """Note what the agent is shown, and what it got."""
        self.invalid += not seen.valid
        if self.said:
            self.rewards[-1] += seen.reward
            self.penalties[-1] += 0.0 if seen.valid else invalid_penalty
        else:
            self.early += seen.reward
        self.seen.append(seen)

    def say(self, text: str) -> None:
        """Note a reply, before the environment has seen it."""
        self.said.append(text)
        self.rewards.append(0.0)
        self.penalties.append(0.0)

    def judged(self) -> Judged:
        """The sum of its rewards; states are those that it acted in."""
        acted = self.seen[: len(self.said)]
        states = [s.text if s.state is None else s.state for s in acted]
        total = (self.early + sum(self.rewards),)
        return Judged(
            total,
            turn_rewards=self.rewards,
            anchors=states,
            penalties=self.penalties,
        )


@dataclasses.dataclass(frozen=True)
class SteppedTask:
    """Agents in an environment that is stepped; as `environment.Play`.

    Every call of the environment runs in a thread of its own, one after another. One
    that takes too long is left there, and its episode is a failure; what must be killed
    belongs into a process of its own.

    Attributes:
      make: An environment for a problem; several may be open at once.
      turns: Replies of each agent, at most; `Environment.max_turns` must allow them.
      show: From what an agent saw and said to its conversation.
      invalid_penalty: Of a reply that is no action, see `Turn.penalty`; the GiGPO
        release takes 0.1.
      deadline: Seconds for a call of the environment.
    """

    make: Callable[[Problem], Stepped]
    turns: int = 8
    show: Show = dialogue
    invalid_penalty: float = 0.0
    deadline: float = 30.0

    async def __call__(
        self, problem: Problem, agents: Mapping[str, ChatAgent]
    ) -> Outcome:
        """Play an episode."""
        held = Held(self.deadline)
        env = await held.call(self.make, problem)
        try:
            return await self._played(held, env, problem, agents)
        finally:
            await held.close(env)

    async def _played(
        self,
        held: "Held",
        env: Stepped,
        problem: Problem,
        agents: Mapping[str, ChatAgent],
    ) -> Outcome:
        parts: dict[str, Part] = {}
        news = await held.call(env.reset)
        while True:
            for name, seen in news.items():
                parts.setdefault(name, Part()).take(seen, self.invalid_penalty)
            acting = [name for name, seen in news.items() if not seen.over]
            if not acting or any(len(parts[n].said) == self.turns for n in acting):
                return _outcome(parts)
            asked = {
                n: self.show(problem, parts[n].seen, parts[n].said) for n in acting
            }
            try:
                replies = await _replies(asked, agents)
            except LimitReached:
                if not any(part.said for part in parts.values()):
                    raise
                return _outcome(parts)
            for name, text in replies.items():
                parts[name].say(text)
            news = await held.call(env.step, replies)


class Held:
    """Calls what may block, each time in a thread of its own."""

    def __init__(self, deadline: float):
        """Give each call so many seconds."""
        self._deadline, self._left = deadline, False

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function returns.

        Raises:
          TimeoutError: It took too long, and was left in its thread.
        """
        limit = asyncio.timeout(self._deadline)
        try:
            async with limit:
                return await in_thread(function, *arguments)
        except TimeoutError:
            if not limit.expired():
                raise  # The environment's own.
            self._left = True
            raise TimeoutError(
                f"the environment took more than {self._deadline:g} s"
            ) from None
        except asyncio.CancelledError:
            self._left = True
            raise

    async def close(self, env: Stepped) -> None:
        """Close the environment, unless a call of it goes on."""
        # Not under the feet of a call that was left in its thread.
        if not self._left:
            await self.call(env.close)


async def _replies(
    asked: Mapping[str, Sequence[Message]], agents: Mapping[str, ChatAgent]
) -> dict[str, str]:
    """What agents say, all at the same time; the first error if there is one."""
    for name in asked:
        if name not in agents:
            raise UserError(
                f"data.environment.agents has no {name!r}, which the environment asks, "
                f"but {', '.join(agents)}; give it a seat"
            )
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(agents[name].reply(messages, ()))
                for name, messages in asked.items()
            }
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return {name: task.result().text for name, task in tasks.items()}


def _outcome(parts: Mapping[str, Part]) -> Outcome:
    last = [part.seen[-1] for part in parts.values()]
    ended = all(seen.terminated for seen in last)
    numbers = {
        "episode_terminated": float(ended),
        "episode_truncated": float(not ended),
        "invalid_actions": float(sum(part.invalid for part in parts.values())),
    }
    for seen in last:
        numbers |= seen.numbers
    return Outcome({name: part.judged() for name, part in parts.items()}, numbers)
