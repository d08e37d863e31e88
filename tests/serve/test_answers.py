"""Texts and messages in pieces."""

import pytest

from jaxrl.serve.answers import TextStream, message_delta, until_stop


def decode(tokens):
    return bytes(tokens).decode(errors="replace")


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("über uns", (), "über uns"),
        ("one END two", ("END",), "one "),
        ("EN, then END", ("END", "."), "EN, then "),
        ("a E", ("END",), "a E"),
    ],
)
def test_pieces_join_to_the_text_before_a_stop(size, text, stops, expected):
    tokens, stream = [*text.encode()], TextStream(decode, stops)
    starts = range(0, len(tokens), size)
    pieces = [
        stream.add(tokens[start : start + size], start == starts[-1])
        for start in starts
    ]
    assert "".join(pieces) == expected == until_stop(text, stops)


@pytest.mark.parametrize("size", [5, 6])
def test_a_text_shorter_than_a_stop_is_held_back(size):
    stream = TextStream(decode, ("STOPHERE",))
    pieces = [stream.add([*b"abcdeSTOPHERE"[:size]], done=False)]
    pieces.append(stream.add([*b"abcdeSTOPHERE"[size:]], done=True))
    assert pieces == ["", "abcde"]


def test_calls_in_a_stream_are_numbered():
    message = {"content": None, "tool_calls": [{"id": "a"}, {"id": "b"}]}
    assert [call["index"] for call in message_delta(message)["tool_calls"]] == [0, 1]
    assert message_delta({"content": "Hm."}) == {"content": "Hm."}
