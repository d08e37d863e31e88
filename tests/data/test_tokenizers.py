"""Tokenizers that are one and the same to a teacher, and those that are not."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from tokenizers import pre_tokenizers as splits
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from jaxrl.data.tokenizers import (
    PROBES,
    check_served_tokenizer,
    check_tokenizers,
    probe_tokens,
)
from jaxrl.errors import UserError
from jaxrl.rollout.client import Encoding, ServedTeacher
from tests.rollout.completions_server import MODEL, serving

MERGES = [("h", "e"), ("i", "n"), ("Ġ", "t")]
ADDED = ("<|end|>", "<|user|>")


def byte_level(merges=MERGES, added=ADDED, swap=None, normalizer=None, **roles):
    """A byte-level tokenizer: all bytes, the results of merges, added tokens."""
    words = [*sorted(splits.ByteLevel.alphabet()), *map("".join, merges)]
    if swap is not None:
        one, other = map(words.index, swap)
        words[one], words[other] = words[other], words[one]
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges))
    made.pre_tokenizer = splits.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    made.add_special_tokens([AddedToken(text) for text in added])
    return PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def compare(student, teacher):
    check_tokenizers(
        student, teacher, student_path=Path("/student"), teacher_path=Path("/teacher")
    )


DIFFERENT = {
    "two ids exchanged": {"swap": ("a", "b")},
    "another merge": {"merges": [*MERGES[:2], ("Ġ", "a")]},
    "a merge less": {"merges": MERGES[:2]},
    "the merges in another order": {"merges": [("i", "n"), ("h", "e"), ("Ġ", "t")]},
    "an added token more": {"added": (*ADDED, "<|tool|>")},
    "an added token less": {"added": ADDED[:1]},
    "added tokens exchanged": {"added": ADDED[::-1]},
    "another normalisation": {"normalizer": normalizers.NFKC()},
}


def test_a_tokenizer_is_its_own_match():
    compare(byte_level(), byte_level())


def test_templates_and_roles_of_tokens_do_not_matter():
    """A base and an instruct model of one family differ in these."""
    compare(
        byte_level(eos_token="<|end|>"),
        byte_level(eos_token="<|user|>", pad_token="<|end|>", chat_template="{{ x }}"),
    )


def test_a_saved_tokenizer_matches_what_it_was_saved_from(tmp_path):
    made = byte_level(eos_token="<|end|>")
    made.save_pretrained(tmp_path)
    compare(made, AutoTokenizer.from_pretrained(tmp_path))


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_is_one_error_that_names_both_directories(name):
    other = byte_level(**DIFFERENT[name])
    with pytest.raises(UserError, match=r"/student and /teacher have different"):
        compare(byte_level(), other)
    with pytest.raises(UserError, match=r"/student and /teacher have different"):
        compare(other, byte_level())


def test_the_first_difference_is_shown():
    first, second = "".join(MERGES[2]), "Ġa"
    index = 256 + 2
    with pytest.raises(UserError, match=f"token {index} is '{first}' in.*'{second}'"):
        compare(byte_level(), byte_level(merges=[*MERGES[:2], ("Ġ", "a")]))
    with pytest.raises(UserError, match=r"token \d+ is 'a' in.*'b' in.*\(2 differ\)"):
        compare(byte_level(), byte_level(swap=("a", "b")))
    with pytest.raises(UserError, match=r"token 260 is '<\|user\|>'.*missing"):
        compare(byte_level(), byte_level(added=ADDED[:1]))


def test_an_added_token_that_is_a_plain_one_elsewhere_is_a_difference():
    """The ids agree, but text turns into it in one of them only."""
    plain = byte_level(added=())
    assert plain.get_vocab()["he"] == 256
    with pytest.raises(UserError, match=r"added token 256 is missing.*'he'"):
        compare(plain, byte_level(added=("he",)))


def served(tokenizer, special=False):
    def encode(text):
        ids = tokenizer.encode(text, add_special_tokens=special)
        return Encoding(tuple(ids), len(ids))

    return encode


def compare_served(student, encode):
    check_served_tokenizer(
        student, encode, student_path=Path("/student"), url="http://host/v1"
    )


@pytest.mark.parametrize(
    "name",
    [
        "two ids exchanged",
        "another merge",
        "a merge less",
        "an added token less",
        "added tokens exchanged",
        "another normalisation",
    ],
)
def test_a_server_with_another_tokenizer_is_one_error_that_names_it(name):
    with pytest.raises(UserError, match=r"/student and the server http://host/v1"):
        compare_served(byte_level(), served(byte_level(**DIFFERENT[name])))


def test_a_server_with_the_same_tokenizer_passes():
    compare_served(byte_level(), served(byte_level()))


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("tells_ids", [True, False])
def test_a_server_may_begin_a_text_as_the_student_does(special, tells_ids):
    student = byte_level()
    student.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", 259)]
    )
    tells = served(student, special)

    def encode(text):
        return tells(text) if tells_ids else Encoding(None, tells(text).count)

    assert len(student.encode("a")) == 2
    compare_served(student, encode)
    with pytest.raises(UserError, match="different tokenizers"):
        compare_served(student, lambda text: Encoding(None, encode(text).count + 2))


def test_a_server_that_counts_is_compared_by_counts():
    def counted(tokenizer):
        return lambda text: Encoding(None, served(tokenizer)(text).count)

    compare_served(byte_level(), counted(byte_level()))
    with pytest.raises(UserError, match=r"tokens to the first and \d+ to the second"):
        compare_served(byte_level(), counted(byte_level(merges=MERGES[:1])))


def test_a_server_on_loopback_is_asked_for_its_encodings():
    own = byte_level()

    def encode(text):
        return own.encode(text, add_special_tokens=False)

    with serving(encode=encode) as bigrams:
        teacher = ServedTeacher(bigrams.url, MODEL)
        compare_served(own, teacher.encode)
        assert [body["prompt"] for *_, body in bigrams.requests] == [
            *PROBES,
            "".join(ADDED),
        ]
        with pytest.raises(UserError, match="different tokenizers"):
            compare_served(byte_level(swap=("a", "b")), teacher.encode)


def test_the_probe_holds_the_largest_id():
    tokens = probe_tokens(byte_level())
    assert tokens.dtype == np.int32
    assert tokens[-1] == tokens.max() == 256 + len(MERGES) + len(ADDED) - 1
    assert len(tokens) > 2
