"""Chat agents whose tokens are known, so that they can be trained."""

import asyncio
import copy
import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from jaxrl.rollout.chat import LimitReached, Reply, Tool
from jaxrl.rollout.dialogue import Exchange, Language, prompt_after
from jaxrl.rollout.tool_calls import no_calls
from jaxrl.rollout.types import Completion, Failure, Message, Turn


class Agent(Protocol):
    """Whoever continues tokens: a policy on this device, or on a server."""

    async def act(self, prompt: np.ndarray, turn: int) -> Completion:
        """Sample after a prompt, int32 [t], with noise that is named by the turn."""
        ...


class UnansweredError(Exception):
    """A turn could not be sampled.

    Attributes:
      failure: Why.
    """

    def __init__(self, failure: Failure):
        """Keep the failure."""
        super().__init__(failure.message)
        self.failure = failure


class ChatPolicy:
    """A `ChatAgent` for one episode, which keeps what was asked and sampled.

    Attributes:
      turns: So far.
    """

    def __init__(
        self,
        agent: Agent,
        language: Language,
        *,
        max_prompt_tokens: int,
        max_turns: int,
        deadline: float,
    ):
        """Begin an episode.

        Args:
          agent: Samples.
          language: How it reads and writes.
          max_prompt_tokens: Longest prompt, the conversation so far.
          max_turns: Most replies.
          deadline: Seconds for a reply.
        """
        self._agent, self._language = agent, language
        self._room, self._most, self._deadline = max_prompt_tokens, max_turns, deadline
        self._last: Exchange | None = None
        self._speaking = False
        self.turns: list[Turn] = []

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """See `ChatAgent`."""
        if self._speaking:
            raise RuntimeError("an agent was asked again before it had replied")
        if len(self.turns) == self._most:
            raise LimitReached(f"the agent has had its {self._most} turns")
        # Copies, since environments may edit their messages in place later.
        messages, tools = copy.deepcopy((list(messages), list(tools)))
        spoken = self._language
        if not tools:
            spoken = dataclasses.replace(spoken, parse=no_calls)
        prompt = prompt_after(spoken, self._last, messages, tools)
        if len(prompt) > self._room:
            raise LimitReached(
                f"the conversation has {len(prompt)} tokens, and the agent reads "
                f"{self._room}"
            )
        self._speaking = True
        try:
            async with asyncio.timeout(self._deadline):
                completion = await self._agent.act(prompt, len(self.turns))
        finally:
            self._speaking = False
        if completion.failure is not None:
            raise UnansweredError(completion.failure)
        self._last = Exchange(messages, tools, prompt, completion)
        self.turns.append(Turn(prompt, completion))
        return spoken.reply(prompt, completion)
