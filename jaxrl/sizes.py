"""The sizes that a run's programs are compiled for: of its sampler, of its batches."""

import dataclasses

from jaxrl.config import Rollouts, RunConfig
from jaxrl.errors import UserError
from jaxrl.rollout.batching import Layout, Packed, Rows, SharedPrompt
from jaxrl.rollout.environment import Environment
from jaxrl.rollout.shapes import SamplerShape, sampler_shape

SHARES = 5
"""Numbers of rows of a batch of episodes, at most, each half of the next."""
SHORT = 64
"""Tokens of the shortest prompt that a prefill is compiled for."""
TOGETHER = 2
"""Prompts of a prefill. They come a few at a time and of any length: padded to eight,
they made episodes on a CPU take a tenth longer."""


def make_shape(data: Rollouts, prompt_tokens: int) -> SamplerShape:
    """The sizes that a run's sampler compiles for."""
    if data.environment is not None:
        return agent_shape(data, data.environment, prompt_tokens)
    return sampler_shape(
        prompts=data.prompts_per_step,
        samples=data.samples_per_prompt,
        max_prompt_tokens=prompt_tokens,
        max_new_tokens=data.max_new_tokens,
    )


def check_room(
    data: Rollouts, prompt_tokens: int, limit: int, model: str = "the model"
) -> None:
    """Raise `UserError` if a model's positions don't hold prompt and response.

    Args:
      data: Of the run.
      prompt_tokens: Longest prompt.
      limit: Positions of the model.
      model: Which one it is, where there are several.
    """
    if prompt_tokens + data.max_new_tokens > limit:
        raise UserError(
            f"data.max_prompt_tokens + data.max_new_tokens is {prompt_tokens} "
            f"+ {data.max_new_tokens}, {model} takes {limit} tokens; lower one"
        )


def make_layout(
    config: RunConfig, shape: SamplerShape, parts: int, other_tokens: int
) -> Layout:
    """Where sequences go: shared prompts, packed, or one in each row.

    Args:
      config: The run.
      shape: Of its sampler.
      parts: Micro-batches of all minibatches: every number of rows splits into them.
      other_tokens: Longest prompt in the other context, 0 without.
    """
    data = config.data
    assert isinstance(data, Rollouts)
    sequences = data.prompts_per_step * data.samples_per_prompt
    length = data.max_prompt_tokens + data.max_new_tokens
    if data.environment is not None:
        return agent_layout(data, data.environment, parts)
    if config.method.needs.pairs:
        return Rows(data.prompts_per_step, (length,))
    if data.packed:
        # Every number of rows has to split into equal parts.
        rows = {-(-sequences // (share * parts)) * parts for share in (1, 2, 4)}
        return Packed(tuple(sorted(rows)), length, sequences)
    if data.allocation is not None:
        # Groups of any size would leave most of a shared prompt's rows empty.
        return Rows(sequences, (length,))
    return SharedPrompt(
        prompts=data.prompts_per_step,
        samples=data.samples_per_prompt,
        prompt_lengths=shape.prompt_lengths,
        response_lengths=shape.cache_lengths,
        other_lengths=(other_tokens,) if other_tokens else (),
    )


def agent_shape(data: Rollouts, part: Environment, prompt_tokens: int) -> SamplerShape:
    """The sizes that an environment's samplers compile for: a row for each episode.

    Args:
      data: Of the run.
      part: Its environment.
      prompt_tokens: Longest conversation.
    """
    episodes = data.prompts_per_step * data.samples_per_prompt
    rows = min(part.slots or part.concurrency, episodes)
    return episode_shape(rows, prompt_tokens, data.max_new_tokens)


def episode_shape(
    rows: int, max_prompt_tokens: int, max_new_tokens: int
) -> SamplerShape:
    """A shape for prompts that grow from turn to turn.

    Only prefills are compiled for each length of prompts, so there are more of them.

    Args:
      rows: Live at once, each with a prompt of its own.
      max_prompt_tokens: Longest conversation.
      max_new_tokens: Longest reply.
    """
    shape = sampler_shape(
        prompts=rows,
        samples=1,
        max_prompt_tokens=max_prompt_tokens,
        max_new_tokens=max_new_tokens,
    )
    parts = [max_prompt_tokens * part // 8 for part in (1, 2, 3, 4, 6)]
    lengths = [length for length in parts if length >= SHORT]
    return dataclasses.replace(
        shape,
        prompt_lengths=(*lengths, max_prompt_tokens),
        admit=min(TOGETHER, rows),
    )


def agent_layout(data: Rollouts, part: Environment, parts: int) -> Rows | Packed:
    """Where the sequences of episodes go.

    Args:
      data: Of the run.
      part: Its environment.
      parts: Every number of rows splits into so many equal ones.
    """
    traces = data.prompts_per_step * data.samples_per_prompt * len(part.trained)
    most, length = traces * part.max_turns, data.max_prompt_tokens + data.max_new_tokens
    least = 1 if data.packed else traces
    sizes = [most >> share for share in range(SHARES) if most >> share > least]
    rows = tuple(sorted({-(-size // parts) * parts for size in (*sizes, least)}))
    return Packed(rows, length, most) if data.packed else Rows(rows, (length,))
