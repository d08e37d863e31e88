"""A teacher's view of a batch: which sequences it is asked about, where answers go.

Letters: N rows, T tokens, S sequences, K top-k; t tokens of one sequence.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxrl.rollout.types import Failure
from jaxrl.types import Batch, TopK


@dataclasses.dataclass(frozen=True)
class ScoredSequence:
    """One sequence of a batch with tokens that are trained, and where it lies.

    Attributes:
      tokens: int32 [t]. The whole sequence, a shared prompt included.
      mask: bool [t]. True on the tokens that are trained.
      index: Its number among the S sequences of the batch.
      row: Row of the batch.
      column: Column of `tokens[prompt_length]`.
      prompt_length: Leading tokens that lie in the shared prompt, not in the row.
    """

    tokens: np.ndarray
    mask: np.ndarray
    index: int
    row: int
    column: int
    prompt_length: int


class TeacherView(NamedTuple):
    """What a teacher says about each token of a sequence, given those before it.

    Only tokens that are trained count; elsewhere entries are anything.

    Attributes:
      logp: float32 [t]. Log-probability of the token; finite where trained.
      top_ids: int32 [t, K]. The teacher's likeliest tokens.
      top_logp: float32 [t, K]. Their log-probabilities; finite where valid.
      top_valid: bool [t, K]. False where the teacher named fewer than K.
    """

    logp: np.ndarray
    top_ids: np.ndarray
    top_logp: np.ndarray
    top_valid: np.ndarray


class Teacher(Protocol):
    """Whoever scores given tokens: a server, or another model."""

    def score(
        self, sequences: Sequence[ScoredSequence], *, top_k: int
    ) -> list[TeacherView | Failure]:
        """One view of each sequence, in order, or why there is none."""
        ...


def scored_sequences(batch: Batch) -> list[ScoredSequence]:
    """The sequences of a batch that have tokens to train, in any layout.

    What failed or only fills the shape has none and is left out.

    Args:
      batch: Of NumPy arrays, as `batching` makes it.

    Returns:
      In the order of the rows, and of the columns within a row.
    """
    sequence, mask = np.asarray(batch.sequence), np.asarray(batch.mask)
    before = np.full_like(sequence, -1)
    before[:, 1:] = sequence[:, :-1]
    found = []
    for row, column in np.argwhere((sequence >= 0) & (sequence != before)).tolist():
        index = int(sequence[row, column])
        end = column + int(np.sum(sequence[row, column:] == index))
        if mask[row, column:end].any():
            prompt = _shared_prompt(batch, row)
            tokens = np.concatenate([prompt, batch.tokens[row, column:end]])
            trained = np.concatenate(
                [np.zeros(len(prompt), bool), mask[row, column:end]]
            )
            found.append(
                ScoredSequence(tokens, trained, index, row, column, len(prompt))
            )
    return found


def with_teacher(
    batch: Batch,
    views: Sequence[TeacherView | Failure],
    *,
    top_k: int,
    vocab_size: int,
) -> tuple[Batch, int]:
    """Place what a teacher said; take out of training what it said nothing about.

    As where a reward failed, a sequence without a view keeps its tokens and gets an
    empty mask, rewards 0 and a group of its own.

    Args:
      batch: Of NumPy arrays, the one that `scored_sequences` was called with.
      views: Of each of those sequences, in their order.
      top_k: Likeliest tokens K to keep; 0 for none.
      vocab_size: Rows of the student's embedding. A larger teacher may name tokens
        beyond it, which become invalid.

    Returns:
      The batch with `evidence.teacher_logp` float32 [N, T], 0 where nothing is trained,
      and, with `top_k`, `evidence.teacher_top` [N, T, K]; and how many views failed.
    """
    size = batch.tokens.shape
    logp: Any = np.zeros(size, np.float32)
    ids: Any = np.zeros((*size, top_k), np.int32)
    top_logp: Any = np.zeros((*size, top_k), np.float32)
    valid: Any = np.zeros((*size, top_k), bool)
    failed = []
    for sequence, view in zip(scored_sequences(batch), views, strict=True):
        if isinstance(view, Failure):
            failed.append(sequence.index)
            continue
        trained = np.flatnonzero(sequence.mask)
        place = sequence.row, trained - sequence.prompt_length + sequence.column
        logp[place] = view.logp[trained]
        named = view.top_ids[trained, :top_k]
        known = view.top_valid[trained, :top_k] & (named < vocab_size)
        ids[place], valid[place] = np.where(known, named, 0), known
        top_logp[place] = np.where(known, view.top_logp[trained, :top_k], 0.0)
    evidence = dataclasses.replace(
        batch.evidence,
        teacher_logp=logp,
        teacher_top=TopK(ids, top_logp, valid) if top_k else None,
    )
    batch = dataclasses.replace(batch, evidence=evidence)
    return _without(batch, failed), len(failed)


def _shared_prompt(batch: Batch, row: int) -> np.ndarray:
    """The tokens before the row's own, int32 [u]."""
    prefix = batch.prefix
    if prefix is None:
        return np.zeros(0, np.int32)
    place = row // (batch.tokens.shape[0] // prefix.tokens.shape[0])
    return np.asarray(prefix.tokens[place, : int(prefix.length[place])])


def _without(batch: Batch, failed: Sequence[int]) -> Batch:
    """The batch with some of its sequences out of training and of comparison."""
    alone = np.isin(np.arange(len(batch.group)), failed)
    tokens = np.isin(batch.sequence, failed)
    keys = [
        (int(group), index if own else -1)
        for index, (group, own) in enumerate(zip(batch.group, alone, strict=True))
    ]
    ids = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    mask: Any = np.asarray(batch.mask) & ~tokens
    turn: Any = np.where(tokens, np.int32(-1), batch.turn)
    old_logp: Any = np.where(tokens, np.float32(0), batch.old_logp)
    rewards: Any = np.where(alone[:, None], np.float32(0), batch.rewards)
    group: Any = np.array([ids[key] for key in keys], np.int32)
    return dataclasses.replace(
        batch, mask=mask, turn=turn, old_logp=old_logp, rewards=rewards, group=group
    )
