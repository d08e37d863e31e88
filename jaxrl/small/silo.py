"""A small policy for small teams: its words, how it reads a conversation, its size."""

import dataclasses
from collections.abc import Iterable

from transformers import PreTrainedTokenizerFast

from jaxrl import quickstart
from jaxrl.rollout.chat import ToolCall
from jaxrl.small.phrases import EOS, phrase_tokenizer
from jaxrl.tasks.silo.level1 import ALARM, BENIGN
from jaxrl.tasks.silo.prompts import NO_CALL, neutral
from jaxrl.tasks.silo.small import AGENTS, TRADES, WIRE, written
from jaxrl.tasks.silo.tools import done
from jaxrl.tasks.silo.training import instance_of, problems

TOLD, REPLY = "<told>", "<reply>"
CHAT_TEMPLATE = "".join(
    [
        "{% for m in messages %}{% if m.role == 'user' %}" + TOLD + "{{ m.content }}",
        "{% elif m.role == 'assistant' %}" + REPLY + "{{ m.content }}" + EOS,
        "{% endif %}{% endfor %}{% if add_generation_prompt %}" + REPLY + "{% endif %}",
    ]
)
"""All but the system message: the rules are the same in every episode."""

ARCHITECTURE = dataclasses.replace(
    quickstart.ARCHITECTURE, vocab_size=192, max_positions=128
)
"""A Qwen3 of half a million parameters."""

_HOLE = "[[hole]]"


def small_tokenizer() -> PreTrainedTokenizerFast:
    """Phrases as tokens."""
    found = [part for text in _framed() for part in text.split(_HOLE)]
    return phrase_tokenizer([*found, *_words()], (TOLD, REPLY), CHAT_TEMPLATE)


def _framed() -> Iterable[str]:
    """What the task, the tools and the calls repeat, around holes for the rest."""
    for problem in problems([*TRADES], 1):
        instance = instance_of(problem, AGENTS)
        yield neutral(instance, 0).replace(f"{instance.shards[0]}", _HOLE)
    told = {"from": _HOLE, "content": _HOLE, "timestamp": _HOLE}
    for call, result in (
        (
            ToolCall("broadcast_message", {"content": _HOLE}),
            done("sent to all other agents"),
        ),
        *(
            (ToolCall("receive_messages", {}), {"messages": [told] * count})
            for count in range(AGENTS)
        ),
        (ToolCall("submit_result", {"answer": _HOLE}), done("submitted")),
    ):
        yield WIRE.spoken([call]).text
        [shown] = WIRE.shown([(call, result)])
        yield shown["content"].replace(f'"{_HOLE}"', _HOLE)
    yield f"{NO_CALL}, and the round has passed."


def _words() -> Iterable[str]:
    """What shards and answers consist of, alone and in lists."""
    for trade in TRADES.values():
        yield from map(written, trade.answers)
    for word in (*BENIGN, ALARM, *TRADES["I-03"].answers):
        yield from (f"'{word}'", f"'{word}', ")
