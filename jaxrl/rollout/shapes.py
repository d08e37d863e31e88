"""The sizes that a sampler compiles for."""

import dataclasses

from jaxrl.rollout.programs import Layout


@dataclasses.dataclass(frozen=True)
class SamplerShape:
    """The sizes a sampler compiles for.

    Attributes:
      prompts: Prompts P that are live at once.
      samples: Rows G that share a prompt.
      prompt_lengths: Allowed lengths U of padded prompts, tokens.
      cache_lengths: Allowed lengths S of the cache of generated tokens, multiples of
        `steps`, up to the longest response.
      steps: Decode steps K between two looks at the rows.
      admit: Prompts that are prefilled together.
    """

    prompts: int
    samples: int
    prompt_lengths: tuple[int, ...]
    cache_lengths: tuple[int, ...]
    steps: int = 32
    admit: int = 8

    @property
    def layouts(self) -> list[Layout]:
        """All rows first; then a quarter of them, in smaller groups.

        Every layout multiplies the programs, each of which takes about 20 MB.
        """
        rows, group = self.prompts * self.samples, max(1, self.samples // 4)
        layouts = [(self.prompts, self.samples)]
        # A response of one block ends before rows could move.
        if self.kept_lengths[0] and rows % (4 * group) == 0:
            layouts.append((rows // (4 * group), group))
        return layouts

    @property
    def kept_lengths(self) -> tuple[int, ...]:
        """Cache lengths that a block may begin with: only 0 if one block is all."""
        return self.cache_lengths if max(self.cache_lengths) > self.steps else (0,)


def sampler_shape(
    *, prompts: int, samples: int, max_prompt_tokens: int, max_new_tokens: int
) -> SamplerShape:
    """A shape with few, well spread sizes.

    Args:
      prompts: Prompts live at once.
      samples: Samples of each.
      max_prompt_tokens: Longest prompt.
      max_new_tokens: Longest response.
    """
    steps = min(32, max_new_tokens)
    blocks = -(-max_new_tokens // steps)
    parts = (1, 2) if max_new_tokens <= 256 else (1, 2, 4)
    counts = sorted({-(-blocks // part) for part in parts})
    short = (max_prompt_tokens // 4,) if max_prompt_tokens > 256 else ()
    return SamplerShape(
        prompts=prompts,
        samples=samples,
        prompt_lengths=(*short, max_prompt_tokens),
        cache_lengths=tuple(steps * count for count in counts),
        steps=steps,
        admit=min(8, prompts),
    )
