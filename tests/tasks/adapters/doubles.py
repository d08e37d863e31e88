"""A corridor to walk along, behind the interfaces of several libraries."""

import types
from pathlib import Path

from jaxrl.rollout.chat import LimitReached, Reply

LIMIT = 6


class Corridor:
    """East is where the goal lies, 2 or 3 steps away."""

    def __init__(self, seed):
        self.at, self.goal = 0, 2 + seed % 2

    def east(self):
        self.at += 1
        return float(self.at == self.goal)

    @property
    def text(self):
        return f"at {self.at} of {self.goal}"


class Scripted:
    """Says the same texts in every episode; keeps what it was asked."""

    def __init__(self, *texts):
        self.texts, self.asked = texts, []

    async def reply(self, messages, tools):
        del tools
        if len(self.asked) == len(self.texts):
            raise LimitReached("nothing left to say")
        self.asked.append([dict(message) for message in messages])
        return Reply(self.texts[len(self.asked) - 1])


class Game:
    """As what `textworld.start` returns; a problem's file holds the seed."""

    def __init__(self, path):
        self.seed = int(Path(path).read_text())

    def reset(self):
        self.corridor = Corridor(self.seed)
        return self.state()

    def step(self, command):
        if command == "go east":
            self.corridor.east()
        state = self.state()
        return state, state.score, state.won

    def close(self):
        del self.corridor

    def state(self):
        won = self.corridor.at == self.corridor.goal
        return types.SimpleNamespace(
            feedback=f"\nHere is {self.corridor.text}.\n\n>     -= Corridor =-0/1",
            objective="Go to the end.",
            description=f"-= Corridor =-\nYou are {self.corridor.text}.",
            inventory="You carry nothing.",
            admissible_commands=["go east", "look"],
            score=int(won),
            max_score=1,
            won=won,
            lost=False,
        )


def textworld():
    """The library's module."""

    def start(path, infos, wrappers):
        assert infos["admissible_commands"]
        game = Game(path)
        for wrapper in wrappers:
            game = wrapper(game)
        return game

    return types.SimpleNamespace(start=start, EnvInfos=dict)


class Shop:
    """As `web_agent_site.envs.WebAgentTextEnv`, with a page for each step."""

    loaded = 0

    def __init__(
        self, observation_mode, num_products=None, server=None, session_prefix=""
    ):
        assert observation_mode == "text"
        if num_products == 0:
            raise FileNotFoundError("items_shuffle.json")
        Shop.loaded += server is None
        self.server = {} if server is None else server
        self.prefix = session_prefix

    def reset(self, session):
        self.session = f"{self.prefix}{session}"
        assert self.session not in self.server
        self.server[self.session] = Corridor(session)
        return self.observation, None

    def step(self, action):
        if action.startswith("search"):
            return self.observation, 0.0, False, None
        reward = self.server[self.session].east()
        return self.observation, reward, reward == 1, None

    def get_available_actions(self):
        start = self.server[self.session].at == 0
        return {"has_search_bar": start, "clickables": ["next"]}

    def close(self):
        if self.prefix:
            self.server.pop(self.session, None)
        else:
            Shop.loaded -= 1

    @property
    def observation(self):
        return f"Instruction [SEP] {self.server[self.session].text}"
