"""Text of a response while it is still being sampled."""

from collections.abc import Callable, Iterable, Iterator, Sequence

UNFINISHED = "\ufffd"
"""What a decoder shows for the bytes of a character that is not complete."""


def text_pieces(
    blocks: Iterable[Sequence[int]], decode: Callable[[Sequence[int]], str]
) -> Iterator[str]:
    """Decode blocks of tokens as they come; the pieces join to the whole text.

    All tokens so far are decoded each time, because a tokenizer may write a token
    differently at the beginning, and a character may take several tokens. What may
    still change is held back.

    Args:
      blocks: New token ids, as `Sampler.stream` yields them.
      decode: Token ids to text.

    Yields:
      Pieces that are not empty.

    >>> list(text_pieces([[72, 105], [33]], lambda ids: bytes(ids).decode()))
    ['Hi', '!']
    """
    tokens: list[int] = []
    text = shown = ""
    for block in blocks:
        tokens += block
        text = decode(tokens)
        stable = text.rstrip(UNFINISHED)
        if stable.startswith(shown) and len(stable) > len(shown):
            yield stable[len(shown) :]
            shown = stable
    if len(text) > len(shown):
        yield text[len(shown) :]
