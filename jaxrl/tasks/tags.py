"""What replies mark with tags."""


def inside(text: str, tag: str) -> str | None:
    """What the first pair of a tag holds, in time that is linear whatever is written.

    >>> inside("<a> x </a><a>y</a>", "a"), inside("<a>x", "a")
    ('x', None)
    """
    found, closed, _ = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")
    return found.strip() if closed else None
