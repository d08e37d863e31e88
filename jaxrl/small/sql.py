"""A small policy for small schemas: its words, how it reads a conversation, its size.

What the protocol, SQL and the questions repeat are tokens, and so are the words that
names are made of, in each of their spellings; so an episode is short, and what has to
be learnt is which of the words in sight belongs where.
"""

import dataclasses
from collections.abc import Iterable

from transformers import PreTrainedTokenizerFast

from jaxrl import quickstart
from jaxrl.small.phrases import EOS, phrase_tokenizer
from jaxrl.tasks.sql import protocol, slips
from jaxrl.tasks.sql.databases import STYLES
from jaxrl.tasks.sql.words import KINDS, NUMBERS, TABLES, VALUES

ASKED, TOLD, REPLY = "<asked>", "<told>", "<reply>"

SCHEMA_LINES, RESULT_LINES = 8, 3
"""Shown of what the tool tells: all columns of a table with their heading; the
beginning of a query's result."""

CHAT_TEMPLATE = "".join(
    [
        "{% for m in messages %}{% if m.role == 'user' %}",
        ASKED + "{{ m.content.split('Question: ')[1] }}",
        "{% elif m.role == 'tool' %}" + TOLD,
        f"{{% set tried = '{protocol.GENERATE}' in messages[loop.index0-1].content %}}",
        f"{{% set lines = {RESULT_LINES} if tried else {SCHEMA_LINES} %}}",
        r"{{ m.content.split('\n')[:lines] | join('\n') }}",
        "{% elif m.role == 'assistant' %}" + REPLY + "{{ m.content }}" + EOS,
        "{% endif %}{% endfor %}{% if add_generation_prompt %}" + REPLY + "{% endif %}",
    ]
)
"""Only the question, what was said and the beginning of what was told: the rules are
the same in every episode."""

_HOLE = "[[hole]]"
_PHRASES = (
    "How many |s have |?|List the | of each | whose | is more than |.|For each | of "
    "|s, what is the average |? Give the stored | and the average.| id|"
    "name|Schema noted: | table(s), | column(s). Go on to the query.|"
    "Error: no such column: |Error: no such table: |NULL|"
    "The query ran and returned no rows.|"
    "SELECT COUNT(*) FROM |SELECT |, AVG(|) FROM | FROM | WHERE | GROUP BY | = '|' | > "
    "|COUNT(*)|AVG(|tbl_|_id"
)
"""Of the questions, of what the tool tells, and of queries."""

ARCHITECTURE = dataclasses.replace(
    quickstart.ARCHITECTURE, vocab_size=384, max_positions=256
)
"""A Qwen3 of two thirds of a million parameters."""


def small_tokenizer() -> PreTrainedTokenizerFast:
    """Phrases and words as tokens."""
    marks = (ASKED, TOLD, REPLY)
    return phrase_tokenizer([*_phrases(), *_words()], marks, CHAT_TEMPLATE)


def _phrases() -> Iterable[str]:
    """What the protocol, the questions and the tool repeat."""
    frames = [
        slips.exploring(slips.TABLES),
        slips.exploring(slips.COLUMNS.format(_HOLE)),
        slips.proposing(_HOLE, [_HOLE, _HOLE]),
        slips.trying(_HOLE),
        slips.answering(_HOLE),
    ]
    for frame in frames:
        yield from frame.split(_HOLE)
    yield from _PHRASES.split("|")


def _words() -> Iterable[str]:
    """The words of names and values, in the spellings in which they occur."""
    spell = STYLES[5][1]
    for word in (*TABLES, *NUMBERS, *KINDS, "legacy code", "remark"):
        yield from (word, word.replace(" ", "_"), spell(word))
    yield from (*VALUES, "id")
