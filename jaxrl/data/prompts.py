"""An endless stream of shuffled problems whose position can be saved."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, final

import grain

from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem

# Problems are in memory already; prefetching threads would gain nothing.
_DIRECT = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)


@final
class PromptIterator(Iterator[list[Problem]]):
    """Yields the problems of each step, in a new order in each epoch.

    The stream is one epoch after another, so a step at the end of an epoch takes the
    rest from the next one: no problem is dropped, and one may come twice in a step.
    The order depends on the seed alone. All processes together see the same step for
    any number of processes.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        prompts_per_step: int,
        *,
        seed: int,
        shard_index: int = 0,
        shard_count: int = 1,
    ):
        """Start at the first step.

        Args:
          problems: What is shuffled; at least one.
          prompts_per_step: Problems P of a step, on all processes together.
          seed: Decides the order; not negative.
          shard_index: This process, of `shard_count`.
          shard_count: Processes that share each step, P / shard_count problems each.
        """
        if prompts_per_step < 1 or prompts_per_step % shard_count:
            raise UserError(
                f"data.prompts_per_step is {prompts_per_step}; give a positive "
                f"multiple of the {shard_count} processes"
            )
        if seed < 0:
            raise UserError(f"seed is {seed}; give 0 or more")
        if not problems:
            raise UserError("data.problems is empty; give at least one problem")
        self._problems = problems
        stream = grain.MapDataset.source(range(len(problems))).seed(seed).shuffle()
        share = stream.repeat().slice(slice(shard_index, None, shard_count))
        # The stream never ends; without `drop_remainder` its length overflows.
        steps = share.batch(
            prompts_per_step // shard_count, drop_remainder=True, batch_fn=list
        )
        self._indices = iter(steps.to_iter_dataset(_DIRECT))

    def __next__(self) -> list[Problem]:
        """The problems of the next step, P / shard_count of them."""
        return [self._problems[index] for index in next(self._indices)]

    def get_state(self) -> dict[str, Any]:
        """Where the stream is, as JSON values: what comes next, and of which data."""
        return {
            "stream": self._indices.get_state(),
            "data": fingerprint(self._problems),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where `get_state` was called.

        Raises:
          UserError: The state is one of other problems.
        """
        if state["data"] != fingerprint(self._problems):
            raise UserError(
                "data.problems are not those that this run was started with; restore "
                "the data, or choose another `name` to start a new run"
            )
        self._indices.set_state(state["stream"])


def fingerprint(problems: Sequence[Problem]) -> str:
    """A hash of the ids, prompts and order of problems.

    >>> fingerprint([Problem("a", "1 + 1", "2")])[:8]
    '1:60f807'
    """
    digest = hashlib.sha256()
    for problem in problems:
        prompt = json.dumps(problem.prompt, default=lambda value: type(value).__name__)
        digest.update(f"{problem.id}\0{prompt}\0".encode())
    return f"{len(problems)}:{digest.hexdigest()[:16]}"
