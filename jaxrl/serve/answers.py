"""Texts of answers while they grow, and what is told of their tokens."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from jaxrl.rollout.types import Completion

Decode = Callable[[Sequence[int]], str]


def until_stop(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop string, of all that it holds."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def message_delta(message: dict[str, Any]) -> dict[str, Any]:
    """A whole message as one piece of a stream."""
    calls = message.get("tool_calls", [])
    numbered = [{"index": i, **call} for i, call in enumerate(calls)]
    return {**message, "tool_calls": numbered} if numbered else message


def chat_logprobs(completion: Completion, decode: Decode) -> dict[str, Any]:
    """Log-probabilities of a message's tokens."""
    both = completion.tokens.tolist(), completion.logp.tolist()
    content = [
        {
            "token": (text := decode([token])),
            "logprob": value,
            "bytes": [*text.encode()],
            "top_logprobs": [],
        }
        for token, value in zip(*both, strict=True)
    ]
    return {"content": content, "refusal": None}


def text_logprobs(
    tokens: Sequence[int],
    logp: Sequence[float | None],
    name: Callable[[int], str],
    tops: Sequence[Any] | None = None,
    start: int = 0,
) -> dict[str, Any]:
    """Log-probabilities of a text's tokens, in the older form.

    Args:
      tokens: Of the text, or of a piece of it.
      logp: Of each; None where there is none.
      name: A token's.
      tops: Of each, likely tokens by name; None where they are unknown.
      start: Characters of all names before the first.
    """
    names = [*map(name, tokens)]
    return {
        "tokens": names,
        "token_logprobs": [*logp],
        "top_logprobs": tops,
        "text_offset": [*itertools.accumulate(map(len, names), initial=start)][:-1],
    }


class TextStream:
    """Text of an answer while it grows; what may still change is held back."""

    def __init__(self, decode: Decode, stops: Sequence[str]):
        """Begin without tokens.

        Args:
          decode: Token ids to text.
          stops: Texts that end the answer and are not shown.
        """
        self._decode, self._stops = decode, stops
        self._tokens: list[int] = []
        self._shown = 0

    def add(self, tokens: Sequence[int], done: bool) -> str:
        """The text that tokens add, perhaps none yet."""
        self._tokens += tokens
        text = until_stop(self._decode(self._tokens), self._stops)
        if not done:
            # Half a character, or the beginning of a stop string.
            held = max(map(len, self._stops), default=1) - 1
            text = text.rstrip("\ufffd")
            text = text[: max(len(text) - held, 0)]
        new, self._shown = text[self._shown :], max(self._shown, len(text))
        return new
