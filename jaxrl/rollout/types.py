"""Host-side records of what was asked, sampled and rewarded. NumPy, no JAX."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Message = Mapping[str, Any]
"""One chat message: `role`, `content` and whatever the chat template reads."""

SEAT = "policy"
"""Name of the agent where there is one."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One item of a data set.

    Attributes:
      id: Stable name, for logs and for statistics per prompt.
      prompt: Text, or chat messages for the tokenizer's chat template.
      answer: What the reward function compares with.
      extra: Further fields of the source, for reward functions.
    """

    id: str
    prompt: str | Sequence[Message]
    answer: Any
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def prompt_messages(problem: Problem, role: str = "user") -> list[Message]:
    """A problem's prompt as the beginning of a conversation.

    Args:
      problem: Its messages are taken as they are.
      role: Of whoever says a prompt that is a text.
    """
    if isinstance(problem.prompt, str):
        return [{"role": role, "content": problem.prompt}]
    return list(problem.prompt)


Reward = Callable[[Problem, str], float]
"""A reward function: the problem and the response's text to a number."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """A reward, tool or episode that did not finish; counted, never a silent 0.

    Attributes:
      kind: "timeout", "crash" or "error"; of an episode also "limit", where an agent
        had no room or no turns left, and "malformed", where its outcome can't be used.
      message: What happened, for the log.
    """

    kind: str
    message: str


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to draw tokens.

    Attributes:
      max_new_tokens: Longest response, tokens.
      temperature: Divides the logits; 0 is greedy.
      top_k: Keep the k most likely tokens; 0 keeps all.
      top_p: Keep the smallest set of tokens with at least this mass; 1 keeps all.
      stop_tokens: Ids that end a response; they belong to it and are trained.
      stop_strings: Texts that end a response, at the token that completes them.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    stop_tokens: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Completion:
    """What the policy sampled after one prompt.

    Attributes:
      tokens: int32 [t].
      logp: float32 [t]. Under the distribution that was sampled from: after
        temperature, normalised over the tokens that top-k and top-p kept.
      version: Updates of the policy that sampled it.
      finished: True if a stop token or string ended it, False at the length limit.
      failure: Why there are no tokens, if a server did not give any.
    """

    tokens: np.ndarray
    logp: np.ndarray
    version: int
    finished: bool
    failure: Failure | None = None


@dataclasses.dataclass(frozen=True)
class Turn:
    """One call of the policy inside an episode: its whole prompt, then its answer.

    Attributes:
      prompt: int32 [t].
      completion: What was sampled after it.
      reward: Of this turn alone.
      channel: Kind of segment, for methods that credit kinds apart (`Batch.channel`).
      anchor: The state that the environment was in, see `anchors.fingerprint`; None
        takes the prompt.
      penalty: Taken from the rewards of the training sequence that the turn is in, and
        from the turn's own return, but from no earlier turn's.
    """

    prompt: np.ndarray
    completion: Completion
    reward: float = 0.0
    channel: int = 0
    anchor: Any = None
    penalty: float = 0.0


@dataclasses.dataclass(frozen=True)
class Trace:
    """What one agent saw and did.

    Attributes:
      turns: In order. A turn whose prompt extends the previous turn's tokens shares
        a training row with it.
      rewards: One number per reward channel, for the whole trace.
      agent: Role name.
      trainable: False for simulated users and frozen agents.
      failure: Set if the reward could not be computed; the trace is then not trained.
      other_prompt: int32 [u]. The first turn's prompt in another context, which a
        teacher may see where the policy doesn't; None if there is none.
    """

    turns: tuple[Turn, ...]
    rewards: tuple[float, ...]
    agent: str = SEAT
    trainable: bool = True
    failure: Failure | None = None
    other_prompt: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Episode:
    """One run of one task; `group` says which episodes are compared with each other.

    Attributes:
      problem: The task.
      traces: Of every agent whose tokens are known.
      group: Episodes with an equal value are compared.
      numbers: What to log of it, as means over episodes.
    """

    problem: Problem
    traces: tuple[Trace, ...]
    group: int
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
