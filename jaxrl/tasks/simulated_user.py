"""Conversations with a user who is another agent."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxrl.rollout.chat import ChatAgent, LimitReached
from jaxrl.rollout.environment import Judged, Outcome
from jaxrl.rollout.stage import judged
from jaxrl.rollout.types import Message, Problem, prompt_messages

_OTHER = {"user": "assistant", "assistant": "user"}


@dataclasses.dataclass(frozen=True)
class Conversation:
    """A user with a wish talks to an agent; as `environment.Play`.

    The user has a seat as any agent: another checkpoint, a model behind a server, or a
    script. It reads the same conversation from the other side, behind instructions of
    its own. A problem's prompt instructs the agent.

    Attributes:
      wish: What the user is to want, and how it is to behave.
      rewards: One function for each reward channel, of the problem and what was said.
      over: Whether the user's words end the conversation.
      turns: Replies of the agent, at most.
      agent: Its seat.
      user: The user's seat.
      reward_deadline: Seconds for the rewards of an episode.
    """

    wish: Callable[[Problem], str]
    rewards: tuple[Callable[[Problem, Sequence[Message]], float], ...]
    over: Callable[[str], bool]
    turns: int = 8
    agent: str = "policy"
    user: str = "user"
    reward_deadline: float = 10.0

    async def __call__(
        self, problem: Problem, agents: Mapping[str, ChatAgent]
    ) -> Outcome:
        """Play an episode."""
        said: list[dict[str, Any]] = []
        wish = [{"role": "user", "content": self.wish(problem)}]
        asked = prompt_messages(problem, role="system")
        ended = False
        for _ in range(self.turns):
            try:
                word = await agents[self.user].reply([*wish, *map(_seen, said)], ())
                said.append({"role": "user", "content": word.text})
                ended = self.over(word.text)
                if ended:
                    break
                reply = await agents[self.agent].reply([*asked, *said], ())
            except LimitReached:
                if len(said) < 2:
                    raise
                break
            said.append({"role": "assistant", "content": reply.text})
        rewards = await judged(
            self.rewards, problem, said, deadline=self.reward_deadline
        )
        both = {
            self.agent: Judged(rewards),
            self.user: Judged(rewards, trainable=False),
        }
        return Outcome(both, {"ended_by_user": float(ended)})


def _seen(message: Mapping[str, Any]) -> Message:
    """A message as the user sees it, who speaks where the agent listens."""
    return {**message, "role": _OTHER[message["role"]]}
