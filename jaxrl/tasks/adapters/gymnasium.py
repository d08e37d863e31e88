"""Environments of Gymnasium, or with its interface, in text."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxrl.rollout.types import SEAT, Problem
from jaxrl.tasks.adapters.spaces import Act, Observe, as_text, reader
from jaxrl.tasks.adapters.stepped import Seen, seed_of


@dataclasses.dataclass(frozen=True)
class Gymnasium:
    """Makes an environment for each episode, in the seat "policy".

        SteppedTask(Gymnasium(partial(gymnasium.make, "FrozenLake-v1")))

    The seed is that of the problem (`stepped.seeded`), so that the episodes of a group
    begin alike. A reply that is no action leaves the environment as it is: the agent is
    told why, and has lost a turn.

    Attributes:
      make: The library's environment.
      observe: What the agent reads.
      act: How its replies are read; see `spaces.reader`.
      state: From an observation and the information beside it to what recurs where the
        environment is in the same state.
    """

    make: Callable[[], Any]
    observe: Observe = as_text
    act: Act | None = None
    state: Callable[[Any, Mapping[str, Any]], Any] = lambda observation, info: (
        observation
    )

    def __call__(self, problem: Problem) -> "GymnasiumEpisode":
        """An environment for a problem."""
        return GymnasiumEpisode(self, seed_of(problem))


class GymnasiumEpisode:
    """An episode; see `stepped.Stepped`."""

    def __init__(self, part: Gymnasium, seed: int):
        """Make the environment.

        Args:
          part: How it is made, shown and acted in.
          seed: Of its noise.
        """
        self._part, self._seed, self._env = part, seed, part.make()
        self._act = reader(self._env.action_space, part.act)

    def reset(self) -> Mapping[str, Seen]:
        """See `Stepped`."""
        observation, info = self._env.reset(seed=self._seed)
        return self._shown(observation, info)

    def step(self, said: Mapping[str, str]) -> Mapping[str, Seen]:
        """See `Stepped`."""
        try:
            action = self._act(said[SEAT])
        except ValueError as error:
            text = f"{error}\n\n{self._seen.text}"
            return {SEAT: self._seen._replace(text=text, reward=0.0, valid=False)}
        observation, reward, terminated, truncated, info = self._env.step(action)
        shown = self._shown(observation, info)[SEAT]
        return {
            SEAT: shown._replace(
                reward=float(reward),
                terminated=bool(terminated),
                truncated=bool(truncated),
            )
        }

    def close(self) -> None:
        """See `Stepped`."""
        self._env.close()

    def _shown(self, observation: Any, info: Mapping[str, Any]) -> Mapping[str, Seen]:
        # Environments may write the next observation into the same array.
        state = copy.deepcopy(self._part.state(observation, info))
        self._seen = Seen(self._part.observe(observation, info), state)
        return {SEAT: self._seen}
