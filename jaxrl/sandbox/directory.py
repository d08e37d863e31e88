"""A directory of the host for one program, and its removal whatever the program did."""

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def temporary_directory() -> Iterator[str]:
    """A new directory, removed when the block ends and its program is dead.

    `tempfile.TemporaryDirectory` would change modes through links (CVE-2023-6597, in
    Python before 3.11.8 and 3.12.1), and fail on a tree that is deeper than its stack.
    """
    path = tempfile.mkdtemp()
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            remove_tree(path)


def remove_tree(path: str) -> None:
    """Remove a directory of one's own of any depth and modes, following no link.

    Directories below the first level are moved up to it, so that neither the stack nor
    the number of open files bounds how deep they may lie.

    Args:
      path: Of the directory, which nobody changes any more.
    """
    top = _opened(path, None)
    try:
        while names := os.listdir(top):
            for name in names:
                if not _is_directory(name, top):
                    os.unlink(name, dir_fd=top)
                    continue
                inner = _opened(name, top)
                try:
                    _bring_up(inner, top)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _bring_up(inner: int, top: int) -> None:
    """Empty a directory: what is one itself goes to the top, the rest away."""
    for name in os.listdir(inner):
        if _is_directory(name, inner):
            # It can only be moved where it may be written.
            os.chmod(name, stat.S_IRWXU, dir_fd=inner)
            new = secrets.token_hex(16)
            os.rename(name, new, src_dir_fd=inner, dst_dir_fd=top)
        else:
            os.unlink(name, dir_fd=inner)


def _opened(name: str, parent: int | None) -> int:
    """A directory that may be changed from now on; an OSError if it is none."""
    if not _is_directory(name, parent):
        raise NotADirectoryError(name)
    os.chmod(name, stat.S_IRWXU, dir_fd=parent)
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)


def _is_directory(name: str, parent: int | None) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)
