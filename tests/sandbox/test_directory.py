"""A directory goes with all that is in it, and nothing outside changes."""

import os
import tempfile
from pathlib import Path

import pytest

from jaxrl.sandbox.directory import temporary_directory

NOBODY = 65534


@pytest.fixture
def ordinary_user():
    """Root may write everywhere, and would never change a mode."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def outside(ordinary_user):
    """A file and a directory of the same user, with modes that forbid writing."""
    with temporary_directory() as path:
        found = Path(path)
        (found / "folder").mkdir()
        for name in ("file", "folder/file"):
            (found / name).write_text("of the host")
            (found / name).chmod(0o444)
        (found / "folder").chmod(0o555)
        yield found


def modes(path):
    return {str(one): one.lstat().st_mode for one in sorted(path.rglob("*"))}


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o500, 0o700])
def test_links_are_not_followed_whatever_the_modes(outside, mode):
    before = modes(outside)
    with temporary_directory() as path:
        inside = Path(path)
        (inside / "deep/er").mkdir(parents=True)
        (inside / "own").write_text("x")
        os.mkfifo(inside / "pipe")
        for name in ("file", "folder"):
            (inside / f"deep/er/link to {name}").symlink_to(outside / name)
        for folder in ("deep/er", "deep", ""):
            (inside / folder).chmod(mode)
    assert not inside.exists()
    assert modes(outside) == before
    assert (outside / "folder/file").read_text() == "of the host"


def test_a_link_in_the_place_of_the_directory_is_not_followed(outside):
    before = modes(outside)
    with temporary_directory() as path:
        os.rmdir(path)
        os.symlink(outside / "folder", path)
    assert modes(outside) == before
    os.unlink(path)


def test_what_is_gone_already_needs_no_removal(ordinary_user):
    with temporary_directory() as path:
        os.rmdir(path)
    assert Path(path).parent == Path(tempfile.gettempdir())
