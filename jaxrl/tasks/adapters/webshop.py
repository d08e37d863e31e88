"""WebShop: finding and buying a product in a web shop, in text.

What it needs, in this order:

1. The code of github.com/princeton-nlp/WebShop, whose folder must be on `PYTHONPATH`,
   and what its `requirements.txt` names. It is in no package registry.
2. `./setup.sh -d small` in that folder (1,000 products), or `-d all` (1.18 million),
   which puts the products into `data/` and the index of the search into
   `search_engine/`. The run must be able to read them there.

Goals are numbered: 0 to 499 are those of the paper's test, 500 to 1499 are held out,
the others are for training.

    Environment(partial(webshop, products=1000, turns=15), max_turns=15)
"""

import contextlib
import dataclasses
import itertools
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from jaxrl.errors import UserError
from jaxrl.rollout.environment import Play
from jaxrl.rollout.types import SEAT, Problem
from jaxrl.tasks.adapters.optional import imported
from jaxrl.tasks.adapters.stepped import Seen, Show, SteppedTask, dialogue

REMEDY = (
    "put the folder of github.com/princeton-nlp/WebShop on PYTHONPATH after its "
    "./setup.sh -d small"
)
_ACTION = re.compile(r"(search|click)\[(.+)\]", re.DOTALL)


def goals(count: int, *, first: int = 1500) -> list[Problem]:
    """Problems for goals of the shop.

    Args:
      count: Number of goals.
      first: Number of the first one.
    """
    numbers = range(first, first + count)
    return [Problem(f"goal {n}", "", None, {"goal": n}) for n in numbers]


@contextlib.contextmanager
def webshop(
    *, products: int | None = 1000, turns: int = 15, show: Show = dialogue
) -> Iterator[Play]:
    """Load the shop, which all episodes share.

    Args:
      products: 1000, 100000, or None for all.
      turns: Replies in an episode, at most.
      show: See `SteppedTask`.

    Raises:
      UserError: If it can't be loaded.
    """
    module = imported("web_agent_site.envs", REMEDY)
    try:
        first = module.WebAgentTextEnv(observation_mode="text", num_products=products)
    except OSError as error:
        raise UserError(
            f"WebShop can't read its data for {products} products: {error}; run its "
            "./setup.sh -d small, or -d all"
        ) from error
    shop = _Shop(module.WebAgentTextEnv, first.server, threading.Lock())
    with contextlib.closing(first):
        yield SteppedTask(shop.episode, turns=turns, show=show)


@dataclasses.dataclass(frozen=True)
class _Shop:
    """The server of all episodes, which answers one of them at a time."""

    kind: Any
    server: Any
    lock: threading.Lock
    visits: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def episode(self, problem: Problem) -> "WebShopEpisode":
        """A visit for a problem's goal."""
        with self.lock:
            # Visits with one name would share their pages.
            env = self.kind(
                observation_mode="text",
                server=self.server,
                session_prefix=f"visit{next(self.visits)}_",
            )
        return WebShopEpisode(env, problem.extra["goal"], self.lock)


class WebShopEpisode:
    """An episode; see `stepped.Stepped`."""

    def __init__(self, env: Any, goal: int, lock: threading.Lock):
        """Begin a visit.

        Args:
          env: Of the library.
          goal: Its number.
          lock: Held while the shop answers.
        """
        self._env, self._goal, self._lock = env, goal, lock

    def reset(self) -> Mapping[str, Seen]:
        """See `Stepped`."""
        with self._lock:
            observation, _ = self._env.reset(session=self._goal)
            return self._shown(observation)

    def step(self, said: Mapping[str, str]) -> Mapping[str, Seen]:
        """See `Stepped`."""
        with self._lock:
            wrong = self._objection(said[SEAT].strip())
            if wrong is not None:
                text = f"{wrong}\n\n{self._seen.text}"
                return {SEAT: self._seen._replace(text=text, valid=False)}
            observation, reward, done, _ = self._env.step(said[SEAT].strip())
            seen = self._shown(observation)[SEAT]
        numbers = {"won": float(reward == 1)}
        return {
            SEAT: seen._replace(
                reward=float(reward), terminated=bool(done), numbers=numbers
            )
        }

    def close(self) -> None:
        """See `Stepped`."""
        with self._lock:
            self._env.close()

    def _objection(self, action: str) -> str | None:
        """Why a reply is no action here; None if it is one."""
        found = _ACTION.fullmatch(action)
        if found is None:
            return f"{action!r} is no action; write search[WORDS] or click[NAME]."
        if found[1] == "search" and not self._offered["has_search_bar"]:
            return "There is nothing to search with on this page."
        if found[1] == "click" and found[2].lower() not in self._offered["clickables"]:
            return f"There is no {found[2]!r} to click on this page."
        return None

    def _shown(self, observation: str) -> Mapping[str, Seen]:
        self._offered = self._env.get_available_actions()
        names = ", ".join(f"click[{name}]" for name in self._offered["clickables"])
        search = "search[WORDS], " if self._offered["has_search_bar"] else ""
        text = f"{observation}\n\nActions: {search}{names}"
        self._seen = Seen(text, observation, numbers={"won": 0.0})
        return {SEAT: self._seen}
