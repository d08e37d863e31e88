"""The in-process sampler: a queue of prompts through the jitted prefill and decode.

The host decides between blocks which rows go on: finished ones are dropped, the queue
refills their slots, and when the queue is empty what is left moves to fewer rows. Every
shape comes from a short list, so that after `warm_up` nothing compiles.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from jaxrl.decoding import Block, DecodePlan, Rows, Slots
from jaxrl.errors import UserError
from jaxrl.rollout.batching import ladder
from jaxrl.rollout.programs import Layout, compile_all, empty_slots, make_programs
from jaxrl.rollout.types import Completion, Sampling
from jaxrl.types import Params
from models.api import LanguageModel


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
        """All rows first; then a half and a quarter of them, in smaller groups."""
        rows, group = self.prompts * self.samples, max(1, self.samples // 4)
        parts = [part for part in (2, 4) if rows % (part * group) == 0]
        smaller = [(rows // (part * group), group) for part in parts]
        # A response of one block ends before rows could move.
        return [(self.prompts, self.samples), *(smaller if self.kept_lengths else [])]

    @property
    def kept_lengths(self) -> tuple[int, ...]:
        """Cache lengths that another block may follow: none if one block is all."""
        return self.cache_lengths if max(self.cache_lengths) > self.steps else ()


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


class Sampler:
    """Draws completions from a policy that lives on the device."""

    def __init__(
        self,
        model: LanguageModel,
        params: Params,
        shape: SamplerShape,
        *,
        decode: Callable[[Sequence[int]], str] | None = None,
        version: int = 0,
    ):
        """Make a sampler; nothing compiles yet.

        Args:
          model: The decoder.
          params: The policy. Whoever trains must not donate these buffers while the
            sampler may still use them: call `update` after every step.
          shape: Sizes to compile for.
          decode: Token ids to text; needed for stop strings.
          version: Updates behind `params`.
        """
        self.params, self.version, self.shape = params, version, shape
        self.programs = make_programs(model)
        self.decode = decode

    def update(self, params: Params, version: int) -> None:
        """Sample from these parameters from now on."""
        self.params, self.version = params, version

    def generate(
        self,
        prompts: Sequence[np.ndarray],
        count: int,
        sampling: Sampling,
        seed: tuple[int, ...],
    ) -> list[list[Completion]]:
        """Sample `count` completions of every prompt.

        Args:
          prompts: Token ids of each prompt.
          count: Completions of each.
          sampling: How to draw.
          seed: Integers that name this call, (run seed, step). Equal seeds give equal
            noise; different ones never repeat it.

        Returns:
          For each prompt its completions.

        Raises:
          UserError: For an empty or too long prompt, a response limit beyond the
            shape's, or stop strings without `decode`.
        """
        session = _Session(self, prompts, count, sampling, seed)
        while session.busy:
            session.advance()
        return session.completions()

    def stream(
        self, prompt: np.ndarray, sampling: Sampling, seed: tuple[int, ...]
    ) -> Iterator[list[int]]:
        """Sample one completion and yield its new tokens block by block."""
        session = _Session(self, [prompt], 1, sampling, seed)
        shown = 0
        while session.busy:
            session.advance()
            tokens = session.rows[0].tokens
            yield tokens[shown:]
            shown = len(tokens)

    def compile(self, sampling: Sampling) -> Iterator[str]:
        """Compile every shape that `generate` can need; names them one by one."""
        return compile_all(
            self.programs,
            _plan(self.shape, sampling),
            self.params,
            layouts=self.shape.layouts,
            prompt_lengths=self.shape.prompt_lengths,
            cache_lengths=self.shape.kept_lengths,
            admit=self.shape.admit,
        )


def _plan(shape: SamplerShape, sampling: Sampling) -> DecodePlan:
    return DecodePlan(
        steps=shape.steps,
        stop_tokens=tuple(sampling.stop_tokens),
        top_k=sampling.top_k,
        top_p=sampling.top_p,
    )


@dataclasses.dataclass(eq=False)
class _Row:
    """One response in the making; `index` names its noise."""

    index: int
    prompt: int
    tokens: list[int] = dataclasses.field(default_factory=list)
    logp: list[float] = dataclasses.field(default_factory=list)
    finished: bool = False
    live: bool = True


class _Session:
    """One call of the sampler: which row sits where, and what it has said."""

    def __init__(
        self,
        sampler: Sampler,
        prompts: Sequence[np.ndarray],
        count: int,
        sampling: Sampling,
        seed: tuple[int, ...],
    ):
        self.sampler, self.sampling, self.prompts = sampler, sampling, prompts
        shape = sampler.shape
        _check(sampler, prompts, sampling)
        self.width = ladder(max(map(len, prompts), default=1), shape.prompt_lengths)
        self.rows = [_Row(i, i // count) for i in range(len(prompts) * count)]
        # A group larger than a slot takes several slots.
        self.queue = deque(
            self.rows[
                start + offset : min(start + offset + shape.samples, start + count)
            ]
            for start in range(0, len(self.rows), count)
            for offset in range(0, count, shape.samples)
        )
        self.decode = sampler.programs.decode(_plan(shape, sampling))
        self.layouts, self.layout = shape.layouts, shape.layouts[0]
        self.places: list[_Row | None] = [None] * (self.layout[0] * self.layout[1])
        self.slots: Slots | None = None
        self.cursor = 0
        self.key = jax.random.key(seed[0])
        for part in seed[1:]:
            self.key = jax.random.fold_in(self.key, part)

    @property
    def busy(self) -> bool:
        """Whether anything is queued or live."""
        return bool(self.queue) or any(row and row.live for row in self.places)

    def advance(self) -> None:
        """Admit and drop rows, then decode one block."""
        if self.queue:
            self._refill()
        else:
            self._shrink()
        assert self.slots is not None
        rows = self._device_rows()
        temperature = np.float32(self.sampling.temperature)
        block = self.decode(
            self.sampler.params,
            self.slots,
            rows,
            np.int32(self.cursor),
            self.key,
            temperature,
        )
        steps = self._collect(block)
        if any(row and row.live for row in self.places):
            self._merge(block, steps)
        else:
            self.cursor = 0

    def completions(self) -> list[list[Completion]]:
        """What was drawn, for each prompt."""
        out: list[list[Completion]] = [[] for _ in self.prompts]
        for row in self.rows:
            out[row.prompt].append(
                Completion(
                    np.asarray(row.tokens, np.int32),
                    np.asarray(row.logp, np.float32),
                    self.sampler.version,
                    row.finished,
                )
            )
        return out

    def _refill(self) -> None:
        """Prefill queued prompts into empty slots, a fixed number at a time."""
        group, admit = self.layout[1], self.sampler.shape.admit
        empty = [
            slot
            for slot in range(self.layout[0])
            if not any(
                row and row.live
                for row in self.places[slot * group : (slot + 1) * group]
            )
        ]
        # Waiting until a whole prefill fits wastes fewer padded prompts than it idles.
        if len(empty) < min(admit, len(self.queue)) and len(empty) < self.layout[0]:
            return
        while empty and self.queue:
            self._admit(
                [empty.pop(0) for _ in range(min(admit, len(empty), len(self.queue)))]
            )

    def _admit(self, where: list[int]) -> None:
        programs, admit = self.sampler.programs, self.sampler.shape.admit
        tokens = np.zeros((admit, self.width), np.int32)
        length = np.ones(admit, np.int32)
        slots = np.full(admit, self.layout[0], np.int32)
        for i, slot in enumerate(where):
            members = self.queue.popleft()
            prompt = self.prompts[members[0].prompt]
            tokens[i, : len(prompt)], length[i], slots[i] = prompt, len(prompt), slot
            start = slot * self.layout[1]
            vacant = [None] * (self.layout[1] - len(members))
            self.places[start : start + self.layout[1]] = [*members, *vacant]
        keys, hidden = programs.prefill(self.sampler.params, tokens, length)
        if self.slots is None:
            self.slots = empty_slots(self.layout, 0, keys, hidden)
        self.slots = programs.admit(self.slots, slots, keys, length, hidden)

    def _shrink(self) -> None:
        """Move the live rows to the smallest layout that holds them."""
        slots_of: dict[int, list[int]] = {}
        for place, row in enumerate(self.places):
            if row and row.live:
                slots_of.setdefault(place // self.layout[1], []).append(place)
        for layout in reversed(self.layouts[self.layouts.index(self.layout) + 1 :]):
            parts = [
                (slot, places[i : i + layout[1]])
                for slot, places in slots_of.items()
                for i in range(0, len(places), layout[1])
            ]
            if len(parts) <= layout[0]:
                return self._move(layout, parts)

    def _move(self, layout: Layout, parts: list[tuple[int, list[int]]]) -> None:
        prompts = np.zeros(layout[0], np.int32)
        rows = np.zeros(layout[0] * layout[1], np.int32)
        places: list[_Row | None] = [None] * rows.size
        for slot, (old_slot, old_places) in enumerate(parts):
            prompts[slot] = old_slot
            for i, old in enumerate(old_places):
                rows[slot * layout[1] + i] = old
                places[slot * layout[1] + i] = self.places[old]
        self.slots = self.sampler.programs.select(self.slots, prompts, rows)
        self.layout, self.places = layout, places

    def _device_rows(self) -> Rows:
        live = [row if row and row.live else None for row in self.places]
        return Rows(
            index=np.array([row.index if row else 0 for row in live], np.int32),
            length=np.array([len(row.tokens) if row else 0 for row in live], np.int32),
            limit=np.full(len(live), self.sampling.max_new_tokens, np.int32),
            live=np.array([row is not None for row in live]),
        )

    def _collect(self, block: Block) -> int:
        """Hand out the block's tokens; returns how many steps it took."""
        drawn = jax.device_get((block.tokens, block.logp, block.count))
        stops = set(self.sampling.stop_tokens)
        for row, tokens, logp, count in zip(self.places, *drawn, strict=True):
            if row is None or not row.live:
                continue
            row.tokens += tokens[:count].tolist()
            row.logp += logp[:count].tolist()
            row.finished = row.tokens[-1] in stops
            if self.sampling.stop_strings:
                self._stop_at_string(row, int(count))
            full = len(row.tokens) >= self.sampling.max_new_tokens
            row.live = not (row.finished or full)
        return int(drawn[2].max())

    def _stop_at_string(self, row: _Row, new: int) -> None:
        """Cut a row behind the first token that completes a stop string."""
        decode = self.sampler.decode
        assert decode is not None
        strings = self.sampling.stop_strings
        if not any(string in decode(row.tokens) for string in strings):
            return
        for length in range(len(row.tokens) - new + 1, len(row.tokens) + 1):
            text = decode(row.tokens[:length])
            if any(string in text for string in strings):
                row.tokens, row.logp = row.tokens[:length], row.logp[:length]
                row.finished = True
                return

    def _merge(self, block: Block, steps: int) -> None:
        """Append the block to the cache; make room by growing it or by shifting out."""
        assert self.slots is not None
        programs, shape = self.sampler.programs, self.sampler.shape
        size = self.slots.cache.key.shape[-1]
        if self.cursor + shape.steps <= size:
            self.slots = programs.merge(self.slots, block, np.int32(self.cursor))
            self.cursor += steps
            return
        # Live rows have said at most `longest` tokens; what lies before is of the dead.
        longest = max(
            (len(row.tokens) for row in self.places if row and row.live), default=steps
        )
        start = max(0, self.cursor + steps - longest)
        needed = self.cursor - start + shape.steps
        columns = max(size, ladder(needed, shape.cache_lengths))
        self.slots = programs.resize(
            self.slots, block, np.int32(self.cursor), np.int32(start), columns=columns
        )
        self.cursor += steps - start


def _check(sampler: Sampler, prompts: Sequence[np.ndarray], sampling: Sampling) -> None:
    longest, room = max(sampler.shape.prompt_lengths), max(sampler.shape.cache_lengths)
    for place, prompt in enumerate(prompts):
        if not 0 < len(prompt) <= longest:
            raise UserError(
                f"prompts[{place}] has {len(prompt)} tokens; the sampler takes 1 to "
                f"{longest} (max_prompt_tokens)"
            )
    if not 0 < sampling.max_new_tokens <= room:
        raise UserError(
            f"max_new_tokens is {sampling.max_new_tokens}; this sampler was made for 1 "
            f"to {room}"
        )
    if sampling.stop_strings and sampler.decode is None:
        raise UserError(
            f"stop_strings is {sampling.stop_strings}, but the sampler can not decode;"
            " pass decode=tokenizer.decode"
        )
