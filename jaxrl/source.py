"""Where batches come from: demonstrations to imitate, or the policy's own samples."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from jaxrl.config import Demonstrations, Rollouts, RunConfig
from jaxrl.data.prompts import PromptIterator
from jaxrl.data.sources import demonstrations, problems
from jaxrl.data.tokenise import (
    check_lengths,
    decoder,
    demonstration_tokens,
    prompt_tokens,
)
from jaxrl.errors import UserError
from jaxrl.report import append_transcripts, transcript
from jaxrl.rollout.batching import (
    Layout,
    Packed,
    Rows,
    SharedPrompt,
    demonstrations_to_batch,
    to_batch,
)
from jaxrl.rollout.filtering import filter_groups
from jaxrl.rollout.runner import Runner, Score, statistics
from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.types import Episode, Sampling
from jaxrl.types import Batch, Params

Values = dict[str, float]


class Source(Protocol):
    """Where batches come from; its position can be saved."""

    def draw(self, params: Params, step: int) -> tuple[Batch, Values]:
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
        lengths = {name: len(p) + len(r) for name, (p, r) in self._tokens.items()}
        name = max(lengths, key=lambda name: lengths[name])
        if lengths[name] > max_tokens:
            raise UserError(
                f"problem {name}: prompt and answer have {lengths[name]} tokens, the "
                f"model takes {max_tokens}; shorten or remove it"
            )
        ladder = sorted({-(-lengths[name] // 2), lengths[name]})
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


class RolloutSource:
    """Batches that the policy samples itself."""

    def __init__(
        self,
        config: RunConfig,
        data: Rollouts,
        tokenizer: PreTrainedTokenizerBase,
        sampler: Sampler,
        sampling: Sampling,
        score: Score,
    ):
        """Check the prompts; nothing compiles yet.

        Args:
          config: The run.
          data: Its prompts.
          tokenizer: Of the policy.
          sampler: Draws from the policy; made for these prompts and samples.
          sampling: How to draw.
          score: Rewards of responses.
        """
        found = problems(data.problems)
        check_lengths(tokenizer, found, data.max_prompt_tokens)
        self._config, self._data, self._sampler = config, data, sampler
        self._prompts = PromptIterator(found, data.prompts_per_step, seed=config.seed)
        self._transcripts = config.directory / "transcripts.md"
        part = config.optimizer
        self._layout = _layout(data, sampler, part.minibatches * part.micro_batches)
        self._runner = Runner(
            generate=sampler.generate,
            score=score,
            encode=partial(prompt_tokens, tokenizer),
            decode=decoder(tokenizer),
            sampling=sampling,
            samples=data.samples_per_prompt,
        )

    def draw(self, params: Params, step: int) -> tuple[Batch, Values]:
        """See `Source`."""
        self._sampler.update(params, step)
        episodes = self._runner.collect(next(self._prompts), (self._config.seed, step))
        values = statistics(episodes)
        self._show(episodes[: self._config.logging.transcripts], step)
        if self._data.filter is not None:
            episodes, dropped = filter_groups(episodes, self._data.filter)
            values["filtered_groups"] = float(dropped)
        reward = self._data.reward
        channels = len(reward) if isinstance(reward, tuple) else 1
        return to_batch(episodes, layout=self._layout, channels=channels), values

    def get_state(self) -> Any:
        """See `Source`; transcripts of later steps do not belong to it."""
        path = self._transcripts
        size = path.stat().st_size if path.exists() else 0
        return {"prompts": self._prompts.get_state(), "transcripts": size}

    def set_state(self, state: Any) -> None:
        """See `Source`."""
        self._prompts.set_state(state["prompts"])
        if self._transcripts.exists():
            os.truncate(self._transcripts, state["transcripts"])

    def _show(self, episodes: Sequence[Episode], step: int) -> None:
        shown = []
        for episode in episodes:
            trace = episode.traces[0]
            text = self._runner.decode(trace.turns[-1].completion.tokens)
            reward = trace.failure or sum(trace.rewards)
            heading = f"Step {step + 1}"
            shown.append(transcript(episode.problem, [text], [reward], heading=heading))
        if step == 0:
            self._transcripts.unlink(missing_ok=True)
        append_transcripts(self._transcripts, shown)


def _layout(data: Rollouts, sampler: Sampler, parts: int) -> Layout:
    if not data.packed:
        return SharedPrompt(
            prompts=data.prompts_per_step,
            samples=data.samples_per_prompt,
            prompt_lengths=sampler.shape.prompt_lengths,
            response_lengths=sampler.shape.cache_lengths,
        )
    sequences = data.prompts_per_step * data.samples_per_prompt
    # Every number of rows has to split into equal parts.
    rows = {-(-sequences // (share * parts)) * parts for share in (1, 2, 4)}
    length = data.max_prompt_tokens + data.max_new_tokens
    return Packed(tuple(sorted(rows)), length, sequences)
