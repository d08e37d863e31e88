"""Batches that the policy, or a teacher in its place, samples itself."""

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from jaxrl.config import Rollouts, RunConfig
from jaxrl.critic import without_critic
from jaxrl.data.prompts import PromptIterator
from jaxrl.processes import is_first
from jaxrl.report import append_transcripts, transcript
from jaxrl.rollout.agent_batch import agent_batch
from jaxrl.rollout.agent_runner import AgentRunner
from jaxrl.rollout.batching import Layout, Packed, Rows, pairs_to_batch, to_batch
from jaxrl.rollout.filtering import filter_groups
from jaxrl.rollout.pairing import best_and_worst
from jaxrl.rollout.runner import Runner, statistics
from jaxrl.rollout.shaping import shape_rewards
from jaxrl.rollout.sharing import Allocator
from jaxrl.rollout.stored import from_text, to_text
from jaxrl.rollout.types import Episode, Problem, Trace
from jaxrl.source import Values
from jaxrl.types import Batch, Pairs, Params

TEACHER_TURN = 2**31 - 2
"""Names the choice between policy and teacher, apart from all other noise."""


class RolloutSource:
    """Batches of samples that a reward has judged."""

    def __init__(
        self,
        config: RunConfig,
        data: Rollouts,
        problems: Sequence[Problem],
        *,
        update: Callable[[Params, int], None],
        policy: Runner | AgentRunner,
        layout: Layout,
        teacher: Runner | None = None,
    ):
        """Bind the parts; nothing compiles yet.

        Args:
          config: The run.
          data: Its prompts.
          problems: Of the data, loaded and checked.
          update: Hands new parameters to the policy's sampler.
          policy: From problems to episodes of the policy.
          layout: Where sequences go, or sides of pairs.
          teacher: From problems to episodes of the teacher, if it ever samples.
        """
        self._config, self._data, self._update = config, data, update
        self._policy, self._teacher, self._layout = policy, teacher, layout
        self._prompts = PromptIterator(
            problems, data.prompts_per_step, seed=config.seed
        )
        self._allocator = Allocator(data.allocation) if data.allocation else None
        self._transcripts = config.directory / "transcripts.md"
        self._ahead: deque[_Ahead] = deque()
        self._version: int | None = None

    def draw(self, params: Params, step: int) -> tuple[Batch | Pairs, Values]:
        """See `Source`; waits for rewards."""
        if not self._ahead:
            self._hand_over(params, step)
            self._begin(step)
        drawn = self._ahead.popleft().result()
        if is_first():
            if step == 0:
                self._transcripts.unlink(missing_ok=True)
            append_transcripts(self._transcripts, drawn.shown)
        stale = self._data.max_staleness > 0 or self._data.engine is not None
        lag = _staleness(drawn.batch, step) if stale else {}
        return drawn.batch, {**drawn.values, **lag}

    def ahead(self, params: Params, step: int) -> Callable[[], None]:
        """See `Source`."""
        first = self._ahead[-1].step + 1 if self._ahead else step + 1
        last = min(step + self._data.max_staleness, self._config.steps - 1)
        if first > last:
            return lambda: None
        self._hand_over(params, step)

        def draw_ahead() -> None:
            for later in range(first, last + 1):
                self._begin(later)

        return draw_ahead

    def get_state(self) -> Any:
        """See `Source`; waits for the rewards of what was drawn ahead."""
        path, allocator = self._transcripts, self._allocator
        return {
            "prompts": self._prompts.get_state(),
            "transcripts": path.stat().st_size if path.exists() else 0,
            "allocation": None if allocator is None else allocator.get_state(),
            "ahead": [{"step": a.step, **a.result().to_json()} for a in self._ahead],
        }

    def set_state(self, state: Any) -> None:
        """See `Source`; transcripts of later steps do not belong to it."""
        self._prompts.set_state(state["prompts"])
        if self._allocator is not None:
            self._allocator.set_state(state["allocation"])
        if is_first() and self._transcripts.exists():
            os.truncate(self._transcripts, state["transcripts"])
        self._ahead.extend(
            _Ahead(saved["step"], partial(_Drawn.from_json, saved))
            for saved in state["ahead"]
        )

    def _hand_over(self, params: Params, version: int) -> None:
        if version != self._version:
            self._update(without_critic(params), version)
            self._version = version

    def _begin(self, step: int) -> None:
        """Sample the batch of a step; its rewards may come later."""
        problems, counts = next(self._prompts), None
        if self._allocator is not None:
            total = len(problems) * self._data.samples_per_prompt
            counts = self._allocator.counts(problems, total)
        found = self._runner(step).start(problems, (self._config.seed, step), counts)
        finish = partial(self._finish, found, step, counts)
        self._ahead.append(_Ahead(step, cache(finish)))

    def _finish(
        self,
        found: Callable[[], list[Episode]],
        step: int,
        counts: Sequence[int] | None,
    ) -> "_Drawn":
        episodes = found()
        values = statistics(episodes)
        if counts is not None:
            values |= {"samples_min": min(counts), "samples_max": max(counts)}
        if self._allocator is not None:
            self._allocator.record(episodes)
        shown = self._shown(episodes[: self._config.logging.transcripts], step)
        if self._data.filter is not None:
            episodes, dropped = filter_groups(episodes, self._data.filter)
            values["filtered_groups"] = float(dropped)
        if self._data.length_penalty is not None:
            episodes = shape_rewards(episodes, self._data.length_penalty)
        return _Drawn(self._batch(episodes, values), values, shown)

    def _runner(self, step: int) -> Runner | AgentRunner:
        """Whose turn it is to sample; depends on the seed and the step alone."""
        if self._teacher is None:
            return self._policy
        draw = np.random.default_rng((self._config.seed, step, TEACHER_TURN)).random()
        return self._teacher if draw < self._data.teacher_share else self._policy

    def _batch(self, episodes: Sequence[Episode], values: Values) -> Batch | Pairs:
        if self._config.method.needs.pairs:
            pairs = best_and_worst(episodes)
            values["pairs"] = float(len(pairs))
            return pairs_to_batch(pairs, layout=self._layout)
        part = self._data.environment
        if part is not None and isinstance(self._layout, Rows | Packed):
            return agent_batch(episodes, layout=self._layout, part=part)
        reward = self._data.reward
        channels = len(reward) if isinstance(reward, tuple) else 1
        return to_batch(episodes, layout=self._layout, channels=channels)

    def _shown(self, episodes: Sequence[Episode], step: int) -> list[str]:
        shown = []
        for episode in episodes:
            trace = episode.traces[0]
            heading = f"Step {step + 1}"
            if len(episode.traces) > 1:
                heading += f", {trace.agent} of {len(episode.traces)} agents"
            reward = trace.failure or sum(trace.rewards)
            turns = [*self._exchanged(trace)]
            shown.append(transcript(episode.problem, turns, reward, heading=heading))
        return shown

    def _exchanged(self, trace: Trace) -> Iterator[tuple[str, str]]:
        """Of each turn, what of its prompt was new, and what was sampled."""
        known = np.zeros(0, np.int32)
        for turn in trace.turns:
            extends = np.array_equal(turn.prompt[: known.size], known)
            new = turn.prompt[known.size :] if extends else turn.prompt
            said = turn.completion.tokens
            yield self._policy.decode(new.tolist()), self._policy.decode(said.tolist())
            known = np.concatenate([turn.prompt, said])


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A batch, what to log of how it came about, and transcripts of some episodes."""

    batch: Batch | Pairs
    values: Values
    shown: list[str]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "batch": to_text(self.batch)}

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> "_Drawn":
        return _Drawn(from_text(saved["batch"]), saved["values"], saved["shown"])


class _Ahead(NamedTuple):
    """A batch that was begun, and the step that trains on it."""

    step: int
    result: Callable[[], _Drawn]


def _staleness(batch: Batch | Pairs, step: int) -> Values:
    """Updates by which the policy that sampled lags behind, over trained tokens."""
    sides = (batch.chosen, batch.rejected) if isinstance(batch, Pairs) else (batch,)
    lags = np.concatenate([step - np.asarray(s.version)[s.mask] for s in sides])
    if not lags.size:
        return {}
    return {"staleness": float(lags.mean()), "staleness_max": float(lags.max())}
