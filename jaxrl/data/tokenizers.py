"""Whether a teacher's tokenizer is the student's: if not, its scores mean nothing.

What counts is which id means which text, and how text becomes ids. A chat template,
which token ends a text and which is added in front of it may differ, since a teacher
is given the student's token ids. So may the number of rows of the embedding: the sizes
of one family are padded differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxrl.errors import UserError
from jaxrl.rollout.client import Encoding

if TYPE_CHECKING:  # Importing transformers takes seconds, and only its type is needed.
    from transformers import PreTrainedTokenizerBase

PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "0123456789 3.14159 1,000,000 2+2=4",
    "  two spaces,\ttabs,\n\nand lines \r\n",
    "def f(x):\n    return x ** 2  # code",
    "Grüße, naïve café; 你好世界 Привет مرحبا हिन्दी",
    "e\u0301 \u00a0 \u200b 👩‍🚀 ½ ﬁ \ufeff",
    "don't I'll we've HTTPServer snake_case kebab-case",
    "\\boxed{\\frac{1}{2}} $x^2$ <b>bold</b> <|",
)
"""Texts on which tokenizers of different families, or normalisations, part."""

REMEDY = "a teacher scores the student's own tokens: choose one with the same tokenizer"


def check_tokenizers(
    student: PreTrainedTokenizerBase,
    teacher: PreTrainedTokenizerBase,
    *,
    student_path: Path,
    teacher_path: Path,
) -> None:
    """Compare vocabularies, added tokens and the encodings of `PROBES`.

    Args:
      student: Tokenizer of the policy.
      teacher: Tokenizer of the teacher.
      student_path: Where it comes from.
      teacher_path: Where it comes from.

    Raises:
      UserError: Names both directories and the first difference.
    """
    where = f"{student_path} and {teacher_path} have different tokenizers"
    for kind, own, other in (
        ("token", _by_id(student), _by_id(teacher)),
        ("added token", _added(student), _added(teacher)),
    ):
        different = [i for i in own.keys() | other if own.get(i) != other.get(i)]
        if different:
            first = min(different)
            raise UserError(
                f"{where}: {kind} {first} is {_shown(own.get(first))} in the first and "
                f"{_shown(other.get(first))} in the second ({len(different)} differ); "
                f"{REMEDY}"
            )
    for text in (*PROBES, *_added(student).values()):
        ids, others = _encoded(student, text), _encoded(teacher, text)
        if ids != others:
            raise UserError(f"{where}: {_parting(text, ids, others)}; {REMEDY}")


def check_served_tokenizer(
    student: PreTrainedTokenizerBase,
    encode: Callable[[str], Encoding],
    *,
    student_path: Path,
    url: str,
) -> None:
    """Compare the encodings of `PROBES` and of added tokens with a server's.

    A server's vocabulary can't be seen: this finds another tokenizer, another
    normalisation, and added tokens with other ids. It misses ids that occur in none of
    these texts, and where the server tells only numbers of tokens, tokenizers that part
    all of them into as many. A server may add tokens in front, as the student's
    tokenizer by its own rule does, since some do so to texts and not to ids.

    Args:
      student: Tokenizer of the policy.
      encode: `ServedTeacher.encode`.
      student_path: Where the tokenizer comes from.
      url: Of the server.

    Raises:
      UserError: Names the directory, the server and the first difference.
    """
    where = f"{student_path} and the server {url} have different tokenizers"
    for text in (*PROBES, "".join(_added(student).values())):
        ids, framed = _encoded(student, text), list(student.encode(text))
        served = encode(text) if ids else Encoding((), 0)
        if served.ids is not None and list(served.ids) not in (ids, framed):
            raise UserError(f"{where}: {_parting(text, ids, served.ids)}; {REMEDY}")
        if served.count not in (len(ids), len(framed)):
            raise UserError(
                f"{where}: {text!r} is {len(ids)} tokens to the first and "
                f"{served.count} to the second; {REMEDY}"
            )


def probe_tokens(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """A few tokens and the largest id, int32 [t], that a server has to know."""
    ids = _encoded(tokenizer, PROBES[0])
    return np.array([*ids, max(_by_id(tokenizer))], np.int32)


def _by_id(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    return {index: token for token, index in tokenizer.get_vocab().items()}


def _added(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    found = tokenizer.added_tokens_decoder.items()
    return {index: token.content for index, token in sorted(found)}


def _encoded(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def _shown(token: str | None) -> str:
    return "missing" if token is None else repr(token)


def _parting(text: str, ids: Sequence[int], others: Sequence[int]) -> str:
    """Where two encodings of a text part."""
    shorter = min(len(ids), len(others))
    unequal = (i for i in range(shorter) if ids[i] != others[i])
    start = next(unequal, shorter)
    return (
        f"{text!r} becomes {list(ids[start : start + 3])} in the first and "
        f"{list(others[start : start + 3])} in the second, from token {start} on"
    )
