import pytest

from jaxrl.streaming import text_pieces

TEXT = "añ€🙂b"


def decode(ids):
    return bytes(ids).decode(errors="replace")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_pieces_join_to_the_text_and_no_character_is_cut(size):
    data = TEXT.encode()
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    pieces = list(text_pieces(blocks, decode))
    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert all(pieces)


def test_text_comes_out_before_the_last_block():
    blocks = iter([b"one ", b"two"])
    pieces = text_pieces(blocks, decode)
    assert next(pieces) == "one "
    assert next(blocks) == b"two"


def test_bytes_that_never_become_a_character_are_shown_at_the_end():
    assert list(text_pieces([b"a", b"\xf0"], decode)) == ["a", "\ufffd"]


def test_nothing_sampled_is_nothing_shown():
    assert list(text_pieces([], decode)) == []
    assert list(text_pieces([[], []], decode)) == []
