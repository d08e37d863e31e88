"""Episodes that outlive the server that recorded them."""

import asyncio
import json

import pytest

from jaxrl.rollout.dialogue import Exchange
from jaxrl.serve.errors import RequestError
from jaxrl.serve.recording import Recordings
from jaxrl.truncation import FULL, Distribution
from tests.serve.test_records import FIRST, SECOND


def record(recordings, name, turn, drawn_from=FULL):
    exchange = Exchange((), (), turn.prompt, turn.completion)
    recordings.open(name).add(exchange, drawn_from)


@pytest.fixture
def ended(tmp_path):
    """A server's recordings at its end: one open, one closed, one without a turn."""
    found = Recordings(tmp_path)
    record(found, "open", FIRST)
    record(found, "closed", FIRST)
    asyncio.run(found.close("closed", {"reward": 1}))
    found.open("empty")
    found.keep()
    return found


def test_open_episodes_go_on_after_the_end_of_a_server(ended, tmp_path):
    again = Recordings(tmp_path)
    assert again.show("open") == ended.show("open")
    assert again.show("closed") == ended.show("closed")
    with pytest.raises(RequestError, match="no open episode empty"):
        again.show("empty")
    record(again, "open", SECOND, Distribution(0.5))
    asyncio.run(again.close("open", {"rewards": [1, 2]}))
    written = json.loads((tmp_path / "open.json").read_text())
    assert written["rewards"] == [1, 2]
    assert [t["tokens"] for t in written["turns"]] == [[5, 1], [7]]
    assert [t["drawn_from"]["temperature"] for t in written["turns"]] == [1.0, 0.5]
    assert not [*(tmp_path / "open").iterdir()]


def test_what_is_dropped_does_not_come_back(ended, tmp_path):
    Recordings(tmp_path).drop("open")
    with pytest.raises(RequestError, match="no open episode open"):
        Recordings(tmp_path).show("open")


def test_what_was_closed_just_before_a_crash_stays_closed(ended, tmp_path):
    left = (tmp_path / "open" / "open.json").read_text()
    asyncio.run(ended.close("open", {"reward": 1}))
    (tmp_path / "open" / "open.json").write_text(left)
    (tmp_path / "open" / ".half.json").write_text(left[:20])
    again = Recordings(tmp_path)
    assert again.show("open")["rewards"] == [1]
    with pytest.raises(RequestError, match="is closed"):
        again.open("open")
