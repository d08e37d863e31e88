"""Many small schemas for a policy that starts from nothing, and demonstrations.

    python -m jaxrl.tasks.sql.small data/small_sql --seed 0

The schemas draw their tables and columns from the same words and write them in three
ways, so a name has to be looked up; which words make up an unseen schema is new. The
files are `train.jsonl`, `held_out.jsonl` and `demonstrations.jsonl`, the databases lie
beside them.
"""

import argparse
import asyncio
import dataclasses
import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxrl.errors import UserError
from jaxrl.rollout.chat import assistant_message
from jaxrl.rollout.types import Message, Problem
from jaxrl.sandbox.sql import SqlPool
from jaxrl.tasks.sql import protocol, questions
from jaxrl.tasks.sql.agents import ScriptedAgent
from jaxrl.tasks.sql.databases import STYLES, Database, fill_database
from jaxrl.tasks.sql.environment import SqlEnvironment
from jaxrl.tasks.sql.generate import checked_questions, create
from jaxrl.tasks.sql.slips import Slips, demonstration
from jaxrl.tasks.sql.words import KINDS, NUMBERS, TABLES, VALUES

TRAIN, HELD_OUT = 80, 10
"""Databases of each part."""
SIZE = 4
"""Tables of a database."""
NAMES = (STYLES[0], STYLES[2], STYLES[5])
"""Plain; prefixed, with columns that lack vowels; all names without vowels."""
TEMPLATES = (questions.counted, questions.above, questions.averaged)
TURNS = 6
"""One more than an agent needs that doesn't slip."""


def small_database(number: int, *, seed: int) -> Database:
    """A database of four tables with two numbers and two words each.

    Args:
      number: Chooses how names are written.
      seed: Of its words and rows.
    """
    draw = random.Random(f"small {number} {seed}")
    numbers = draw.sample(NUMBERS, 2 * SIZE)
    kinds = draw.sample(KINDS, 2 * SIZE)
    lines = []
    for place, table in enumerate(draw.sample(TABLES, SIZE)):
        pair = slice(2 * place, 2 * place + 2)
        fields = [f"{name} 1..99" for name in numbers[pair]]
        fields += [f"{k} {'|'.join(draw.sample(VALUES, 3))}" for k in kinds[pair]]
        lines.append(f"{table}: {', '.join(draw.sample(fields, len(fields)))}")
    return fill_database(
        f"small_{number + 1}",
        "\n".join(lines),
        style=NAMES[number % len(NAMES)],
        tables=SIZE,
        coded=False,
        draw=draw,
    )


def write_small(directory: Path | str, *, seed: int) -> None:
    """Write databases, problems and demonstrations.

    Args:
      directory: Must be new or empty.
      seed: Other seeds give other schemas, rows, questions and demonstrations.
    """
    root = Path(directory)
    if root.exists() and any(root.iterdir()):
        raise UserError(f"{root} is not empty; give a new directory")
    made = [small_database(number, seed=seed) for number in range(TRAIN + HELD_OUT)]
    asked = [(database, _asked(root, database, seed)) for database in made]
    parts = {"train": asked[:TRAIN], "held_out": asked[TRAIN:]}
    for name, members in parts.items():
        _dump(root / f"{name}.jsonl", (p for _, found in members for p in found))
    draw = random.Random(f"demonstrations {seed}")
    plans = [
        (problem, demonstration(problem, database, Slips(), draw))
        for database, found in parts["train"]
        for problem in found
    ]
    _dump(root / "demonstrations.jsonl", asyncio.run(_played(plans)))


def _asked(root: Path, database: Database, seed: int) -> list[Problem]:
    path = root / "database" / database.id / f"{database.id}.sqlite"
    create(path, database)
    found = questions.questions_of(database, seed=seed, templates=TEMPLATES)
    kept = checked_questions(path, database, found)
    extra = {"db_id": database.id, "database": str(path)}
    return [
        Problem(
            f"{database.id}:{number}",
            protocol.prompt(question.text, database.id, ""),
            question.sql,
            {**extra, "difficulty": question.difficulty},
        )
        for number, question in enumerate(kept)
    ]


async def _played(plans: Sequence[tuple[Problem, Sequence[str]]]) -> list[Problem]:
    """What was said and told, where agents follow plans."""
    with SqlPool(workers=1) as pool:
        environment = SqlEnvironment(pool, max_turns=TURNS)
        return [await _demonstrated(environment, *plan) for plan in plans]


async def _demonstrated(
    environment: SqlEnvironment, problem: Problem, texts: Sequence[str]
) -> Problem:
    episode = await environment.play(problem, ScriptedAgent(texts))
    messages: list[Message] = []
    for turn in episode.turns:
        messages.append(assistant_message(turn.reply))
        messages += protocol.feedback_messages(turn.reply, turn.feedback)
    extra = {
        **problem.extra,
        "tools": [protocol.EXECUTE_SQL],
        "rewards": episode.rewards,
    }
    # Nobody is told anything after an answer.
    return dataclasses.replace(problem, answer=messages[:-1], extra=extra)


def _dump(path: Path, problems: Iterable[Problem]) -> None:
    with path.open("w") as file:
        for problem in problems:
            row = {"id": problem.id, "prompt": problem.prompt, "answer": problem.answer}
            file.write(json.dumps({**row, **problem.extra}) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write small schemas with questions.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_small(arguments.directory, seed=arguments.seed)


if __name__ == "__main__":
    main()
