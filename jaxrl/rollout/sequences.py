"""Traces as token sequences: turns merged where one prompt extends the other."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrl.errors import UserError
from jaxrl.rollout.types import Trace, Turn


@dataclasses.dataclass(frozen=True)
class TokenSequence:
    """Consecutive tokens of one trace, and what is known about them as a whole.

    Attributes:
      tokens: int32 [t]. Prompt, and everything after it.
      mask: bool [t]. True where the policy sampled the token and it is trained.
      turn: int32 [t]. Assistant turn of the trace where `mask`, -1 elsewhere.
      channel: int32 [t]. Kind of segment where `mask`, 0 elsewhere.
      logp: float32 [t]. Of the sampling policy where `mask`, 0 elsewhere.
      version: int32 [t]. Updates of the policy that sampled, where `mask`, 0 elsewhere.
      prompt_length: Leading tokens that were given to the first turn.
      rewards: One number per reward channel.
      group: Sequences with an equal value are compared with each other.
      failed: True if it takes no part in training and no comparison.
      other_prompt: The leading `prompt_length` tokens in another context, or None.
    """

    tokens: np.ndarray
    mask: np.ndarray
    turn: np.ndarray
    channel: np.ndarray
    logp: np.ndarray
    version: np.ndarray
    prompt_length: int
    rewards: tuple[float, ...]
    group: tuple[int, str]
    failed: bool = False
    other_prompt: np.ndarray | None = None


def trace_sequences(
    trace: Trace, *, group: int, apart: bool = False
) -> list[TokenSequence]:
    """Merge the turns of a trace into as few token sequences as possible.

    Args:
      trace: Its failure, if any, empties the masks.
      group: Of the trace's episode.
      apart: Every turn is a sequence of its own instead.

    Returns:
      Sequences in the order of their first turns. All carry the trace's rewards, the
      last channel without the penalties of their own turns.
    """
    failed = trace.failure is not None
    empty = open_sequence(trace.rewards, (group, trace.agent), failed=failed)
    empty = dataclasses.replace(empty, other_prompt=trace.other_prompt)
    sequences: list[TokenSequence] = []
    for index, turn in enumerate(trace.turns):
        if apart or not (sequences and _continues(sequences[-1], turn)):
            sequences.append(empty)
        sequences[-1] = extend(
            sequences[-1],
            turn.prompt,
            turn.completion.tokens,
            turn.completion.logp,
            turn=index,
            version=turn.completion.version,
            channel=turn.channel,
        )
        if turn.penalty and trace.rewards:
            *others, last = sequences[-1].rewards
            rewards = (*others, last - turn.penalty)
            sequences[-1] = dataclasses.replace(sequences[-1], rewards=rewards)
    return sequences


def open_sequence(
    rewards: tuple[float, ...], group: tuple[int, str], failed: bool = False
) -> TokenSequence:
    """A sequence to which no turn was added yet."""
    none = np.zeros(0)
    return TokenSequence(
        tokens=none.astype(np.int32),
        mask=none.astype(bool),
        turn=none.astype(np.int32),
        channel=none.astype(np.int32),
        logp=none.astype(np.float32),
        version=none.astype(np.int32),
        prompt_length=0,
        rewards=rewards,
        group=group,
        failed=failed,
    )


def _continues(sequence: TokenSequence, turn: Turn) -> bool:
    """Whether the turn's prompt begins with everything the sequence holds."""
    return np.array_equal(turn.prompt[: len(sequence.tokens)], sequence.tokens)


def extend(
    sequence: TokenSequence,
    prompt: Any,
    sampled: Any,
    logp: Any,
    *,
    turn: int,
    version: int,
    channel: int = 0,
) -> TokenSequence:
    """Append what `prompt` adds to the sequence, then the sampled tokens.

    Args:
      sequence: Its tokens, if any, are the beginning of `prompt`.
      prompt: int [u]. At least one token.
      sampled: int [t]. May be empty.
      logp: float [t]. Of the sampled tokens.
      turn: Index of the turn in its trace.
      version: Updates of the policy that sampled.
      channel: Kind of segment.
    """
    if len(prompt) == 0:
        raise UserError("prompt: has no tokens; it needs one for the first to follow")
    if len(logp) != len(sampled):
        raise UserError(f"logp: has {len(logp)} entries for {len(sampled)} tokens")
    first = len(sequence.tokens) == 0
    given = np.asarray(prompt, np.int32)[len(sequence.tokens) :]
    trained = np.full(len(sampled), not sequence.failed)
    mask = np.concatenate([np.zeros(len(given), bool), trained])
    versions = np.where(mask, np.int32(version), 0)
    channels = np.where(mask, np.int32(channel), 0)
    added_logp = np.zeros(len(mask), np.float32)
    added_logp[len(given) :] = logp
    added = [sequence.tokens, given, np.asarray(sampled, np.int32)]
    return dataclasses.replace(
        sequence,
        tokens=np.concatenate(added),
        mask=np.concatenate([sequence.mask, mask]),
        turn=np.concatenate([sequence.turn, np.where(mask, np.int32(turn), -1)]),
        channel=np.concatenate([sequence.channel, channels]),
        logp=np.concatenate([sequence.logp, np.where(mask, added_logp, 0)]),
        version=np.concatenate([sequence.version, versions]),
        prompt_length=len(given) if first else sequence.prompt_length,
    )


def without_prompt(sequence: TokenSequence) -> TokenSequence:
    """The tokens that follow the first prompt."""
    start = sequence.prompt_length
    return dataclasses.replace(
        sequence,
        tokens=sequence.tokens[start:],
        mask=sequence.mask[start:],
        turn=sequence.turn[start:],
        channel=sequence.channel[start:],
        logp=sequence.logp[start:],
        version=sequence.version[start:],
        prompt_length=0,
    )


def common_prompt(group: Sequence[TokenSequence]) -> np.ndarray:
    """The first prompt of all of `group`, int32 [u]; an error if they differ."""
    return _common(group, [s.tokens[: s.prompt_length] for s in group])


def common_other_prompt(group: Sequence[TokenSequence]) -> np.ndarray | None:
    """The same in the other context; None if there is none."""
    prompts = [s.other_prompt for s in group if s.other_prompt is not None]
    return _common(group, prompts) if prompts else None


def _common(
    group: Sequence[TokenSequence], prompts: Sequence[np.ndarray]
) -> np.ndarray:
    if any(not np.array_equal(prompt, prompts[0]) for prompt in prompts):
        raise UserError(
            f"SharedPrompt: the sequences of group {group[0].group} have different "
            "prompts; use Rows or Packed"
        )
    return prompts[0]
