"""HIPIF's way through an environment: subgoals that are folded once they are reached.

Hierarchical planning and information folding, 2026, arXiv:2606.10507, known from notes:
the context of equation (1), reflection, folding and the kinds of penalties are the
paper's; the words of the prompt, the tags, that one reply holds all, and the sizes of
penalties are reconstructions.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence

from jaxrl.rollout.chat import ChatAgent, LimitReached
from jaxrl.rollout.environment import Judged, Outcome
from jaxrl.rollout.types import SEAT, Problem, prompt_messages
from jaxrl.tasks.adapters.stepped import Held, Seen, Stepped
from jaxrl.tasks.tags import inside

INSTRUCTIONS = (
    "Reflect on whether the subgoal is reached, between <reflect> and </reflect>. Then "
    "write <done>1</done> if it is, or else <done>0</done>. If it is, or if there is "
    "none yet, name the next one between <subgoal> and </subgoal>. Last, give one "
    "action between <action> and </action>."
)
FALLBACK = 30
"""Characters at a reply's end that are the action where none is marked, as in the
GiGPO release."""


@dataclasses.dataclass(frozen=True)
class Penalties:
    """What a step loses by itself; rewards of the environment are 0 to 1.

    Attributes:
      grounding: Names something in a subgoal that was never seen.
      termination: Closes a subgoal whose last observation is a failure, in an episode
        that succeeds.
      execution: Repeats an action and what came of it, under one subgoal.
      format: Can't be read.
    """

    grounding: float = 0.1
    termination: float = 0.1
    execution: float = 0.1
    format: float = 0.1


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a reply says.

    Attributes:
      done: The subgoal is reached.
      subgoal: The next one, or None.
      action: To be carried out.
      formed: Whether nothing is missing that is always asked for.
    """

    done: bool
    subgoal: str | None
    action: str
    formed: bool


@dataclasses.dataclass
class Progress:
    """Where an agent is.

    Attributes:
      folded: Subgoals that were reached, with the last observation under each (H).
      subgoal: The current one; None before the first (g).
      steps: Actions under it and what was observed (T).
    """

    folded: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    subgoal: str | None = None
    steps: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def decide(self, decision: Decision, now: str) -> tuple[str | None, str | None]:
        """Fold and open subgoals as a reply says.

        Args:
          decision: What it says.
          now: The current observation.

        Returns:
          The last observation under a subgoal that was closed, and a subgoal that was
          opened; None where there is none.
        """
        opens = self.subgoal is None or decision.done
        if not decision.formed or not opens or decision.subgoal is None:
            return None, None
        closed = None
        if self.subgoal is not None:
            closed = self.steps[-1][1] if self.steps else now
            self.folded.append((self.subgoal, closed))
        self.subgoal, self.steps = decision.subgoal, []
        return closed, decision.subgoal

    def shown(self, task: str, now: str) -> str:
        """The context: task, folded subgoals, the current one's steps, and what is."""
        reached = [f"- {goal}: {end}" for goal, end in self.folded]
        steps = [f"- {action}: {seen}" for action, seen in self.steps[:-1]]
        steps += [f"- {action}: what you see now" for action, _ in self.steps[-1:]]
        parts = [
            task,
            "\n".join(["Subgoals that are reached:", *reached]) if reached else "",
            f"Current subgoal: {self.subgoal or 'none yet'}",
            "\n".join(["Steps towards it:", *steps]) if steps else "",
            f"Now:\n{now}",
            INSTRUCTIONS,
        ]
        return "\n\n".join(filter(None, parts))


def read(text: str, *, first: bool) -> Decision:
    """Read a reply.

    Args:
      text: The reply.
      first: Whether there is no subgoal yet.
    """
    done, subgoal, action = (inside(text, t) for t in ("done", "subgoal", "action"))
    named = bool(subgoal) or not (first or done == "1")
    return Decision(
        done=done == "1",
        subgoal=subgoal or None,
        action=action or text[-FALLBACK:],
        formed=done in ("0", "1") and bool(action) and named,
    )


def numbered(text: str) -> Collection[str]:
    """Things as ALFWorld names them, a word and a number.

    >>> sorted(numbered("Put mug 1 on shelf 12."))
    ['mug 1', 'shelf 12']
    """
    return {found.lower() for found in re.findall(r"[A-Za-z]+ \d+", text)}


def nothing_happens(observation: str) -> bool:
    """Whether ALFWorld says that an action had no effect."""
    return "nothing happens" in observation.lower()


@dataclasses.dataclass(frozen=True)
class FoldedTask:
    """One agent works through subgoals that it names; as `environment.Play`.

    Every turn's prompt is built anew, so play it with `Environment.turns_apart`; the
    penalties are `Turn.penalty`, which `methods.hipif` adds to the outcome.

    Attributes:
      make: An environment for a problem, with one agent.
      turns: Replies, at most.
      penalties: How much each kind costs.
      named: The things that a text names.
      failed: Whether an observation signals failure.
      success: Reward in total from which on an episode has succeeded.
      seat: Of the agent.
      deadline: Seconds for a call of the environment.
    """

    make: Callable[[Problem], Stepped]
    turns: int = 50
    penalties: Penalties = dataclasses.field(default_factory=Penalties)
    named: Callable[[str], Collection[str]] = numbered
    failed: Callable[[str], bool] = nothing_happens
    success: float = 1.0
    seat: str = SEAT
    deadline: float = 30.0

    async def __call__(
        self, problem: Problem, agents: Mapping[str, ChatAgent]
    ) -> Outcome:
        """Play an episode."""
        held = Held(self.deadline)
        env = await held.call(self.make, problem)
        try:
            seen = (await held.call(env.reset))[self.seat]
            walk = _Walk(self, problem, seen)
            while not walk.seen[-1].over and len(walk.rewards) < self.turns:
                try:
                    reply = await agents[self.seat].reply(walk.prompt, ())
                except LimitReached:
                    if not walk.rewards:
                        raise
                    break
                action = walk.take(reply.text)
                walk.observe(
                    action, (await held.call(env.step, {self.seat: action}))[self.seat]
                )
            return walk.outcome()
        finally:
            await held.close(env)


class _Walk:
    """An episode so far."""

    def __init__(self, task: FoldedTask, problem: Problem, seen: Seen):
        self._task, self._problem, self._progress = task, problem, Progress()
        self.seen, self.rewards, self._costs = [seen], list[float](), list[float]()
        self._ends: list[int] = []
        self._tried: set[tuple[str, str]] = set()
        said = "\n".join(str(m["content"]) for m in prompt_messages(problem))
        self._known = {*task.named(said), *task.named(seen.text)}
        self._malformed = 0

    @property
    def prompt(self) -> Sequence[Mapping[str, str]]:
        """What the agent reads next."""
        *before, last = prompt_messages(self._problem)
        shown = self._progress.shown(str(last["content"]), self.seen[-1].text)
        return [*before, {**last, "content": shown}]

    def take(self, text: str) -> str:
        """Note a reply; returns the action."""
        costs, now = self._task.penalties, self.seen[-1].text
        decision = read(text, first=self._progress.subgoal is None)
        closed, opened = self._progress.decide(decision, now)
        cost = 0.0 if decision.formed else costs.format
        self._malformed += not decision.formed
        if opened is not None:
            self._tried.clear()
            if not self._known.issuperset(self._task.named(opened)):
                cost += costs.grounding
        if closed is not None and self._task.failed(closed):
            self._ends.append(len(self._costs))
        self._costs.append(cost)
        return decision.action

    def observe(self, action: str, seen: Seen) -> None:
        """Note what came of an action."""
        if (action, seen.text) in self._tried:
            self._costs[-1] += self._task.penalties.execution
        self._tried.add((action, seen.text))
        self._progress.steps.append((action, seen.text))
        self._known |= {*self._task.named(seen.text)}
        self.seen.append(seen)
        self.rewards.append(seen.reward)

    def outcome(self) -> Outcome:
        total = self.seen[0].reward + sum(self.rewards)
        if total >= self._task.success:
            for place in self._ends:
                self._costs[place] += self._task.penalties.termination
        states = [s.text if s.state is None else s.state for s in self.seen[:-1]]
        judged = Judged(
            (total,),
            turn_rewards=self.rewards,
            anchors=states,
            penalties=self._costs,
        )
        numbers = {
            "episode_terminated": float(self.seen[-1].terminated),
            "subgoals": float(len(self._progress.folded)),
            "malformed_replies": float(self._malformed),
            "penalties": sum(self._costs),
            **self.seen[-1].numbers,
        }
        return Outcome({self._task.seat: judged}, numbers)
