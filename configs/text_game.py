"""GiGPO on text games that are generated here: quests of two commands.

Paper: Feng et al., 2025, Group-in-Group Policy Optimization, arXiv:2505.10978; games of
TextWorld (Cote et al., 2018, arXiv:1806.11532). The policy sees the state and numbered
commands, and says a number. It is rewarded at the end of a quest alone; steps are
compared where room and inventory are the same. Differs from the paper: no history in
the prompt, no KL term, a tiny policy, and a reply that is no command costs a turn and
nothing else: in groups that all lose, deviations make any penalty as large as a win.

    pip install 'jaxrl[envs]'
    python benchmarks/text_game.py --prepare  # writes runs/text_game: games, policy
    jaxrl train configs/text_game.py

Hardware: 2 CPU cores.
Expected: see configs/README.md, also for what was run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrl.config import ModelConfig, OptimizerConfig, Rollouts, RunConfig
from jaxrl.methods.gigpo import GiGpo
from jaxrl.rollout.chat import Tool
from jaxrl.rollout.environment import Environment, plain
from jaxrl.rollout.tool_calls import no_calls
from jaxrl.rollout.types import Message
from jaxrl.tasks.adapters.stepped import SteppedTask, latest
from jaxrl.tasks.adapters.textworld import (
    Size,
    TextWorld,
    as_it_is,
    by_number,
    games,
)

FOLDER = Path("runs/text_game")
SIZE = Size(rooms=2, objects=2, quest_length=2)
GAMES = games(FOLDER / "games", SIZE, 48)
HELD_OUT = games(FOLDER / "games", SIZE, 32, first=1000)
TURNS = 6
IDLE = ("examine", "inventory", "look")
"""Commands that change nothing, and tell nothing that isn't shown."""


def useful(commands: Sequence[str]) -> list[str]:
    """The commands that change something."""
    return [command for command in commands if command.split()[0] not in IDLE]


def tell(state: Any, begins: bool) -> str:
    """All that matters now, with the useful commands in numbers."""
    return as_it_is(state, begins, useful(state.admissible_commands))


def choose(said: str, commands: Sequence[str]) -> str:
    """Read the number of a useful command."""
    return by_number(said, useful(commands))


TEXT_WORLD = TextWorld(tell=tell, choose=choose)
TASK = SteppedTask(TEXT_WORLD, turns=TURNS, show=latest)


def text(messages: Sequence[Message], tools: Sequence[Tool], begin_reply: bool) -> str:
    """What is shown, and a mark behind which the reply begins."""
    del tools, begin_reply
    return " ".join(f"{message['content']} =" for message in messages)


config = RunConfig(
    name="text_game",
    data=Rollouts(
        GAMES,
        prompts_per_step=8,
        samples_per_prompt=8,
        max_prompt_tokens=224,
        max_new_tokens=2,
        environment=Environment(
            plain(TASK),
            template=text,
            parse=no_calls,
            max_turns=TURNS,
            turns_apart=True,
        ),
    ),
    method=GiGpo(kl_coef=0.0),
    model=ModelConfig(path=FOLDER / "warmup" / "model"),
    optimizer=OptimizerConfig(
        learning_rate=1e-3,
        schedule="linear",
        warmup_steps=5,
        b2=0.99,
        micro_batches=4,
    ),
    steps=60,
    output=FOLDER,
)
