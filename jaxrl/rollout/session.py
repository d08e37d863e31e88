"""Responses in the making: which row sits where, and what it has said."""

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxrl.decoding import Block, DecodePlan, Rows, Slots, columns
from jaxrl.rollout.batching import ladder
from jaxrl.rollout.programs import Layout, Programs, empty_slots
from jaxrl.rollout.shapes import SamplerShape
from jaxrl.rollout.types import Completion, Sampling
from jaxrl.truncation import FULL, Distribution, Distributions
from jaxrl.types import Params


class Engine(NamedTuple):
    """What does not change during a session.

    Attributes:
      programs: The compiled steps.
      params: The policy.
      version: Updates behind `params`.
      shape: Sizes to compile for.
      decode: Token ids to text, or None.
    """

    programs: Programs
    params: Params
    version: int
    shape: SamplerShape
    decode: Callable[[Sequence[int]], str] | None


def decode_plan(shape: SamplerShape, sampling: Sampling) -> DecodePlan:
    """What of a shape and a way of sampling is fixed at compile time."""
    return DecodePlan(
        steps=shape.steps,
        stop_tokens=tuple(sampling.stop_tokens),
        top_k=sampling.top_k,
        top_p=sampling.top_p,
    )


class Stops(NamedTuple):
    """What ends a response beside the stop tokens of `Sampling`.

    Attributes:
      tokens: Ids.
      strings: Texts, at the token that completes them.
    """

    tokens: frozenset[int] = frozenset()
    strings: tuple[str, ...] = ()


NO_STOPS = Stops()


@dataclasses.dataclass(eq=False)
class Row:
    """One response in the making; `name` names its noise."""

    name: int
    limit: int
    drawn_from: Distribution = FULL
    stops: Stops = NO_STOPS
    tokens: list[int] = dataclasses.field(default_factory=list)
    logp: list[float] = dataclasses.field(default_factory=list)
    finished: bool = False
    live: bool = True

    def completion(self, version: int) -> Completion:
        """What was drawn, by the policy after so many updates."""
        return Completion(
            np.asarray(self.tokens, np.int32),
            np.asarray(self.logp, np.float32),
            version,
            self.finished,
        )


class Admitted(NamedTuple):
    """A prompt, the slot that it is put into, and the rows that continue it."""

    slot: int
    prompt: np.ndarray
    rows: list[Row]


class Session:
    """Requests on their way through the device: which row sits where, what it said.

    A request may come at any time, and is forgotten once its row is no longer live.
    """

    def __init__(
        self,
        engine: Engine,
        sampling: Sampling,
        seed: tuple[int, ...],
        *,
        longest: int,
        mixed: bool = False,
    ):
        """Begin without requests.

        Args:
          engine: What draws.
          sampling: How to draw.
          seed: Integers that name this session; see `Sampler.generate`.
          longest: Tokens of the longest prompt that may come.
          mixed: Whether each request says what it is drawn from, in the place of
            temperature, top-k and top-p of `sampling`.
        """
        self.engine, self.sampling, self.mixed = engine, sampling, mixed
        shape = engine.shape
        self.width = ladder(longest, shape.prompt_lengths)
        self.queue: deque[tuple[np.ndarray, list[Row]]] = deque()
        self.decode = engine.programs.decode(decode_plan(shape, sampling))
        self.layouts, self.layout = shape.layouts, shape.layouts[0]
        self.places: list[Row | None] = [None] * (self.layout[0] * self.layout[1])
        self.slots: Slots | None = None
        self.cursor = 0
        self.key = jax.random.key(seed[0])
        for part in seed[1:]:
            self.key = jax.random.fold_in(self.key, part)

    @property
    def busy(self) -> bool:
        """Whether anything is queued or live."""
        queued = any(row.live for _, rows in self.queue for row in rows)
        return queued or any(row and row.live for row in self.places)

    def submit(
        self,
        prompt: np.ndarray,
        names: Sequence[int],
        limit: int | None = None,
        drawn_from: Distribution = FULL,
        stops: Stops | None = None,
    ) -> list[Row]:
        """Ask for responses to a prompt.

        Args:
          prompt: Its tokens.
          names: Of the noise of each response; unique within a session.
          limit: Longest response; None takes that of `sampling`.
          drawn_from: In a mixed session, what the responses are drawn from.
          stops: What ends them; None takes the strings of `sampling`. Strings need a
            sampler that can decode.

        Returns:
          A row for each response, which is not live any more once it is complete.
          Setting `live` to False withdraws it.
        """
        limit = self.sampling.max_new_tokens if limit is None else limit
        if stops is None:
            stops = Stops(strings=self.sampling.stop_strings)
        rows = [Row(name, limit, drawn_from, stops) for name in names]
        # A group larger than a slot takes several slots.
        for start in range(0, len(rows), self.engine.shape.samples):
            members = rows[start : start + self.engine.shape.samples]
            self.queue.append((prompt, members))
        return rows

    def advance(self) -> None:
        """Admit and drop rows, then decode one block."""
        if self.queue:
            self._grow()
            self._refill()
        else:
            self._shrink()
        assert self.slots is not None
        rows = self._device_rows()
        temperature = np.float32(self.sampling.temperature)
        block = self.decode(
            self.engine.params,
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

    def _grow(self) -> None:
        """Return to the layout that takes new prompts."""
        if self.layout != self.layouts[0]:
            self._move(self.layouts[0], self._parts(self.layouts[0]))

    def _refill(self) -> None:
        """Prefill queued prompts into empty slots, a fixed number at a time."""
        group, admit = self.layout[1], self.engine.shape.admit
        waiting = [entry for entry in self.queue if any(row.live for row in entry[1])]
        self.queue = deque(waiting)
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
        count = min(len(empty), len(self.queue))
        # Equal prompts, as of a group's episodes, are prefilled once.
        equals: dict[tuple[int, bytes], list[Admitted]] = {}
        for slot in empty[:count]:
            prompt, members = self.queue.popleft()
            entry = Admitted(slot, prompt, members)
            key = len(prompt), prompt.tobytes()
            equals.setdefault(key, []).append(entry)
        # A prefill is as wide as its longest prompt: prompts of a length go together.
        found = sorted(equals.values(), key=lambda entries: len(entries[0].prompt))
        for start in range(0, len(found), admit):
            self._admit(found[start : start + admit])

    def _admit(self, equals: Sequence[Sequence[Admitted]]) -> None:
        """Prefill prompts, and put each into the slots of all that asked for it."""
        programs, shape = self.engine.programs, self.engine.shape
        longest = max(len(entries[0].prompt) for entries in equals)
        tokens = np.zeros(
            (shape.admit, ladder(longest, shape.prompt_lengths)), np.int32
        )
        length = np.ones(shape.admit, np.int32)
        for i, [first, *_] in enumerate(equals):
            length[i] = len(first.prompt)
            tokens[i, : length[i]] = first.prompt
        keys, hidden = programs.prefill(self.engine.params, tokens, length)
        if self.slots is None:
            size = shape.kept_lengths[0]
            self.slots = empty_slots(
                programs.placement, self.layout, size, keys, hidden, self.width
            )
        for copies in itertools.zip_longest(*equals):
            slots = np.full(shape.admit, self.layout[0], np.int32)
            for i, entry in enumerate(copies):
                if entry is not None:
                    slots[i] = entry.slot
                    self._seat(entry)
            self.slots = programs.admit(self.slots, slots, keys, length, hidden)

    def _seat(self, entry: Admitted) -> None:
        """Give the slot's places to the rows that asked."""
        start, room = entry.slot * self.layout[1], self.layout[1]
        vacant = [None] * (room - len(entry.rows))
        self.places[start : start + room] = [*entry.rows, *vacant]

    def _shrink(self) -> None:
        """Move the live rows to the smallest layout that holds them."""
        for layout in reversed(self.layouts[self.layouts.index(self.layout) + 1 :]):
            parts = self._parts(layout)
            if len(parts) <= layout[0]:
                return self._move(layout, parts)

    def _parts(self, layout: Layout) -> list[tuple[int, list[int]]]:
        """Slots that the live rows take in another layout: old slot, old places."""
        slots_of: dict[int, list[int]] = {}
        for place, row in enumerate(self.places):
            if row and row.live:
                slots_of.setdefault(place // self.layout[1], []).append(place)
        return [
            (slot, places[i : i + layout[1]])
            for slot, places in slots_of.items()
            for i in range(0, len(places), layout[1])
        ]

    def _move(self, layout: Layout, parts: list[tuple[int, list[int]]]) -> None:
        prompts = np.zeros(layout[0], np.int32)
        rows = np.zeros(layout[0] * layout[1], np.int32)
        places: list[Row | None] = [None] * rows.size
        for slot, (old_slot, old_places) in enumerate(parts):
            prompts[slot] = old_slot
            for i, old in enumerate(old_places):
                rows[slot * layout[1] + i] = old
                places[slot * layout[1] + i] = self.places[old]
        self.slots = self.engine.programs.select(self.slots, prompts, rows)
        self.layout, self.places = layout, places

    def _device_rows(self) -> Rows:
        live = [row if row and row.live else None for row in self.places]
        return Rows(
            name=np.array([row.name if row else 0 for row in live], np.int32),
            length=np.array([len(row.tokens) if row else 0 for row in live], np.int32),
            limit=np.array([row.limit if row else 0 for row in live], np.int32),
            live=np.array([row is not None for row in live]),
            drawn_from=distributions(live) if self.mixed else None,
        )

    def _collect(self, block: Block) -> int:
        """Hand out the block's tokens; returns how many steps it took."""
        drawn = jax.device_get((block.tokens, block.logp, block.drawn))
        stops = set(self.sampling.stop_tokens)
        for row, tokens, logp, count in zip(self.places, *drawn, strict=True):
            if row is None or not row.live:
                continue
            row.tokens += tokens[:count].tolist()
            row.logp += logp[:count].tolist()
            row.finished = row.tokens[-1] in stops
            if any(row.stops):
                self._stop(row, int(count))
            full = len(row.tokens) >= row.limit
            row.live = not (row.finished or full)
        return int(drawn[2].max())

    def _stop(self, row: Row, new: int) -> None:
        """Cut a row behind the first of its new tokens that one of its stops ends."""
        lengths = range(len(row.tokens) - new + 1, len(row.tokens) + 1)
        ends = [n for n in lengths if row.tokens[n - 1] in row.stops.tokens]
        # Most rows hold no such text: look once before looking where it ends.
        if row.stops.strings and self._holds(row, len(row.tokens)):
            ends.append(next(n for n in lengths if self._holds(row, n)))
        if ends:
            end = min(ends)
            row.tokens, row.logp = row.tokens[:end], row.logp[:end]
            row.finished = True

    def _holds(self, row: Row, length: int) -> bool:
        """Whether so many tokens hold a stop string."""
        assert self.engine.decode is not None
        text = self.engine.decode(row.tokens[:length])
        return any(string in text for string in row.stops.strings)

    def _merge(self, block: Block, steps: int) -> None:
        """Append the block to the cache; make room by growing it or by shifting out."""
        assert self.slots is not None
        programs, shape = self.engine.programs, self.engine.shape
        size = columns(self.slots.cache)
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
        room = max(size, ladder(needed, shape.cache_lengths))
        self.slots = programs.resize(
            self.slots, block, np.int32(self.cursor), np.int32(start), columns=room
        )
        self.cursor += steps - start


def distributions(rows: Sequence[Row | None]) -> Distributions:
    """What rows are drawn from, as arrays; where there is none, the whole softmax."""
    found = [row.drawn_from if row else FULL for row in rows]
    return Distributions(
        np.array([one.temperature for one in found], np.float32),
        np.array([one.top_k for one in found], np.int32),
        np.array([one.top_p for one in found], np.float32),
    )
