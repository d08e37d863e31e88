"""Where batches come from; here, texts to imitate or to prefer."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from jaxrl.config import Demonstrations, Preferences
from jaxrl.data.prompts import PromptIterator
from jaxrl.data.sources import demonstrations, preferences
from jaxrl.data.tokenise import demonstration_tokens, preference_tokens
from jaxrl.errors import UserError
from jaxrl.rollout.batching import (
    Rows,
    demonstrations_to_batch,
)
from jaxrl.types import Batch, Pairs, Params

Values = dict[str, float]
Example = tuple[np.ndarray, np.ndarray]
"""Prompt and response tokens."""


class Source(Protocol):
    """Where batches come from; its position can be saved."""

    def draw(self, params: Params, step: int) -> tuple[Batch | Pairs, Values]:
        """The batch of a step, and what to log of how it came about."""
        ...

    def get_state(self) -> Any:
        """Where the source is, as JSON values."""
        ...

    def set_state(self, state: Any) -> None:
        """Go on where `get_state` was called."""
        ...


class DemonstrationSource:
    """Batches of demonstrations to imitate."""

    def __init__(
        self,
        data: Demonstrations,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int,
        max_tokens: int,
    ):
        """Tokenise everything, so that a bad example is found before training.

        Args:
          data: The demonstrations.
          tokenizer: Of the policy.
          seed: Of their order.
          max_tokens: Longest sequence that the policy takes.
        """
        found = demonstrations(data.problems)
        self._tokens = {p.id: demonstration_tokens(tokenizer, p) for p in found}
        longest = longest_example(self._tokens, max_tokens)
        ladder = sorted({-(-longest // 2), longest})
        self._layout = Rows(data.batch_size, tuple(ladder))
        self._prompts = PromptIterator(found, data.batch_size, seed=seed)

    def draw(self, params: Params, step: int) -> tuple[Batch, Values]:
        """See `Source`; looks at neither parameters nor step."""
        del params, step
        pairs = [self._tokens[problem.id] for problem in next(self._prompts)]
        return demonstrations_to_batch(pairs, layout=self._layout), {}

    def get_state(self) -> Any:
        """See `Source`."""
        return self._prompts.get_state()

    def set_state(self, state: Any) -> None:
        """See `Source`."""
        self._prompts.set_state(state)


class PreferenceSource:
    """Batches of pairs, each of a text to prefer and one to reject."""

    def __init__(
        self,
        data: Preferences,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int,
        max_tokens: int,
    ):
        """Tokenise everything, so that a bad pair is found before training.

        Args:
          data: The preferences.
          tokenizer: Of the policy.
          seed: Of their order.
          max_tokens: Longest sequence that the policy takes.
        """
        found = preferences(data.problems)
        self._tokens = {p.id: preference_tokens(tokenizer, p) for p in found}
        longest = max(
            longest_example(
                {name: pair[side] for name, pair in self._tokens.items()}, max_tokens
            )
            for side in (0, 1)
        )
        self._layout = Rows(data.batch_size, (longest,))
        self._prompts = PromptIterator(found, data.batch_size, seed=seed)

    def draw(self, params: Params, step: int) -> tuple[Pairs, Values]:
        """See `Source`; looks at neither parameters nor step."""
        del params, step
        pairs = [self._tokens[problem.id] for problem in next(self._prompts)]
        chosen, rejected = zip(*pairs, strict=True)
        return Pairs(
            demonstrations_to_batch(chosen, layout=self._layout),
            demonstrations_to_batch(rejected, layout=self._layout),
        ), {}

    def get_state(self) -> Any:
        """See `Source`."""
        return self._prompts.get_state()

    def set_state(self, state: Any) -> None:
        """See `Source`."""
        self._prompts.set_state(state)


def longest_example(examples: Mapping[str, Example], max_tokens: int) -> int:
    """Tokens of the longest prompt with its response; an error if it is too long.

    Args:
      examples: Problem id to prompt and response.
      max_tokens: Longest sequence that the policy takes.
    """
    lengths = {name: len(p) + len(r) for name, (p, r) in examples.items()}
    name = max(lengths, key=lambda name: lengths[name])
    if lengths[name] > max_tokens:
        raise UserError(
            f"problem {name}: prompt and answer have {lengths[name]} tokens, the "
            f"model takes {max_tokens}; shorten or remove it"
        )
    return lengths[name]
