"""Log-probabilities of given tokens, as servers of completions write them.

A function here asks one question through `post` and reads the answer. There are two,
since servers differ; whoever makes a client chooses one by passing it.

Both ask for temperature 1 and no truncation: a server's defaults may be others, and
some servers apply them to a prompt's log-probabilities.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrl.rollout.teacher import ScoredSequence, TeacherView

Post = Callable[[Mapping[str, Any]], Any]
"""Sends the fields of a completions request; returns the answer's JSON."""

Scoring = Callable[[Post, ScoredSequence, int], TeacherView]
"""`prompt_logprobs` or `echoed_logprobs`: scores a sequence, with K likeliest."""

LEAST_LOGP = -9000.0
"""At or below, a number means "impossible": servers write -9999 for -inf, which JSON
does not have."""
ROUNDING = 1e-3
"""By how much a log-probability may exceed 0."""

LARGEST_ID_DIGITS = 9
"""Of a token id, so that it fits into int32."""

PLAIN = {"max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "stream": False}


class AnswerError(ValueError):
    """An answer that does not say what was asked."""


def prompt_logprobs(post: Post, sequence: ScoredSequence, top_k: int) -> TeacherView:
    """Ask with `prompt_logprobs`, an extension of vLLM, keyed by token ids.

    For every position but the first, the answer maps ids to log-probabilities: the
    prompt's own token, always, and the K likeliest.

    Args:
      post: Sends the request.
      sequence: Tokens to score.
      top_k: Likeliest tokens K, which the server may limit.

    Returns:
      Views of the trained tokens; 0 and invalid elsewhere.

    Raises:
      AnswerError: If a trained token has no finite log-probability.
    """
    answer = post(
        PLAIN
        | {
            "prompt": sequence.tokens.tolist(),
            "prompt_logprobs": max(top_k, 1),
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
        }
    )
    length = len(sequence.tokens)
    positions = _list(_choice(answer), "prompt_logprobs", at_least=length)
    if len(positions) > length:
        raise AnswerError(f"prompt_logprobs has {len(positions)} entries, not {length}")
    named = [_by_id(positions[place]) for place in np.flatnonzero(sequence.mask)]
    tokens = sequence.tokens[sequence.mask].tolist()
    logp = [found.get(token) for found, token in zip(named, tokens, strict=True)]
    return _view(sequence, logp, named, top_k)


def echoed_logprobs(post: Post, sequence: ScoredSequence, top_k: int) -> TeacherView:
    """Ask with `echo` and `logprobs`, the older form that most servers know.

    Its likeliest tokens are keyed by text, of which two tokens may have the same. With
    `top_k` the server must therefore know `return_tokens_as_token_ids`, which makes the
    keys "token_id:7".

    Args:
      post: Sends the request.
      sequence: Tokens to score.
      top_k: Likeliest tokens K, which the server may limit.

    Returns:
      Views of the trained tokens; 0 and invalid elsewhere.

    Raises:
      AnswerError: If a trained token has no finite log-probability, or the server
        put a token of its own in front.
    """
    request = {
        "prompt": sequence.tokens.tolist(),
        "echo": True,
        "logprobs": max(top_k, 1),
    }
    if top_k:
        request["return_tokens_as_token_ids"] = True
    answer = post(PLAIN | request)
    said = _logprobs(_choice(answer))
    length = len(sequence.tokens)
    _check_count(answer, length)
    places = np.flatnonzero(sequence.mask).tolist()
    scores = _list(said, "token_logprobs", at_least=length)
    if len(scores) > length + 1:
        raise AnswerError(f"token_logprobs has {len(scores)} entries for {length} + 1")
    named: list[dict[int, float]] = [{}] * len(places)
    if top_k:
        _check_echo(_list(said, "tokens", at_least=length), sequence.tokens.tolist())
        tops = _list(said, "top_logprobs", at_least=length)
        named = [_by_marked_id(tops[place]) for place in places]
    return _view(sequence, [_number(scores[place]) for place in places], named, top_k)


def _view(
    sequence: ScoredSequence,
    logp: Sequence[float | None],
    named: Sequence[Mapping[int, float]],
    top_k: int,
) -> TeacherView:
    """Views from the log-probability and the likeliest tokens of each trained token."""
    size = len(sequence.tokens)
    view = TeacherView(
        logp=np.zeros(size, np.float32),
        top_ids=np.zeros((size, top_k), np.int32),
        top_logp=np.zeros((size, top_k), np.float32),
        top_valid=np.zeros((size, top_k), bool),
    )
    places = np.flatnonzero(sequence.mask).tolist()
    for place, value, candidates in zip(places, logp, named, strict=True):
        if value is None or not LEAST_LOGP < value <= ROUNDING:
            raise AnswerError(
                f"token {sequence.tokens[place]} at position {place} has "
                f"log-probability {value}"
            )
        view.logp[place] = value
        finite = [(v, i) for i, v in candidates.items() if LEAST_LOGP < v <= ROUNDING]
        best = sorted(finite, reverse=True)[:top_k]
        view.top_ids[place, : len(best)] = [token for _, token in best]
        view.top_logp[place, : len(best)] = [value for value, _ in best]
        view.top_valid[place, : len(best)] = True
    return view


def _choice(answer: Any) -> Mapping[str, Any]:
    match answer:
        case {"choices": [dict() as choice, *_]}:
            return choice
    raise AnswerError("the answer has no choices")


def _logprobs(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    match choice:
        case {"logprobs": dict() as said}:
            return said
    raise AnswerError("the answer has no logprobs")


def _list(holder: Mapping[str, Any], name: str, *, at_least: int) -> list[Any]:
    match holder.get(name):
        case list() as found if len(found) >= at_least:
            return found
        case list() as found:
            raise AnswerError(f"{name} has {len(found)} entries, not {at_least}")
    raise AnswerError(f"the answer has no {name}")


def _number(value: Any) -> float:
    """The number, or not-a-number for `null` and whatever else is none."""
    match value:
        case bool():
            return math.nan
        case int() | float():
            return value
    return math.nan


def _by_id(position: Any) -> dict[int, float]:
    """Log-probabilities by token id at one position of `prompt_logprobs`."""
    match position:
        case dict():
            return {
                _id(key, key): _number(entry.get("logprob"))
                for key, entry in position.items()
                if isinstance(entry, dict)
            }
    raise AnswerError("a position of prompt_logprobs holds no tokens")


def _by_marked_id(position: Any) -> dict[int, float]:
    """Log-probabilities by token id at one position of `top_logprobs`."""
    match position:
        case dict():
            return {
                _id(key.removeprefix("token_id:"), key): _number(value)
                for key, value in position.items()
                if key.startswith("token_id:")
            }
    raise AnswerError("a position of top_logprobs holds no tokens")


def _id(digits: str, key: str) -> int:
    plain = digits.isascii() and digits.isdecimal()
    if not plain or len(digits) > LARGEST_ID_DIGITS:
        raise AnswerError(f"{key!r} names no token id")
    return int(digits)


def _check_count(answer: Mapping[str, Any], length: int) -> None:
    """Find out whether the server put a token in front, which shifts all others."""
    match answer:
        case {"usage": {"prompt_tokens": int(count)}} if count != length:
            raise AnswerError(f"the server made {count} tokens of {length}")


def _check_echo(echoed: Sequence[Any], tokens: Sequence[int]) -> None:
    for place, token in enumerate(tokens):
        if echoed[place] != f"token_id:{token}":
            raise AnswerError(
                f"position {place} echoes {echoed[place]!r}, not 'token_id:{token}'; "
                "the server has to name tokens by id"
            )
