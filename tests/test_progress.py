import io
import itertools

import pytest

from jaxrl.progress import duration, line, number, progress


def shown(steps, values=None, *, start=0, every=10, seconds=1.0):
    """What a run that reports each step prints, with `seconds` between clock reads."""
    out, ticks = io.StringIO(), itertools.count(0.0, seconds)
    with progress(
        steps[-1], start=start, every=every, out=out, clock=lambda: next(ticks)
    ) as write:
        for step in steps:
            write(step, values or {"reward": step / 100})
    return out.getvalue().splitlines()


def test_a_file_gets_the_first_the_last_and_every_tenth_step():
    lines = shown(range(1, 26))
    assert [text.split()[1] for text in lines] == ["1/25", "10/25", "20/25", "25/25"]
    assert lines[1] == "train 10/25  reward 0.100  15s left"


def test_the_first_step_does_not_count_for_the_time_left():
    times = iter([0.0, 100.0, 102.0, 104.0])
    out = io.StringIO()
    with progress(13, every=1, out=out, clock=lambda: next(times)) as write:
        for step in (1, 2, 3):
            write(step, {})
    left = [text.split()[-2] for text in out.getvalue().splitlines()]
    assert left == ["20m00s", "22s", "20s"]


def test_time_left_counts_from_the_step_that_was_resumed():
    assert shown(range(91, 101), start=90, every=5)[1].endswith("5s left")


def test_a_step_may_be_reported_in_pieces_and_is_printed_once():
    out = io.StringIO()
    with progress(2, every=1, out=out) as write:
        write(1, {"reward": 0.5})
        write(1, {"heldout_accuracy": 0.75})
        write(2, {"reward": 0.6})
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "reward 0.600  held-out 0.750" in lines[1]


def test_metrics_that_are_not_known_are_not_shown():
    assert line({"grad_norm": 3.0, "logp_gap": 2e-7}) == "gap 2.0e-07"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.6, "1m00s"), (61, "1m01s"), (7260, "2h01m")]
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("value", [0.0, 1e-12, -0.25, 999.9, 1e5, 3e9, -2e12])
def test_numbers_fit_and_keep_their_size(value):
    text = number(value)
    assert len(text) <= 8
    assert float(text) == pytest.approx(value, rel=0.05)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_live_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = Terminal()
    with progress(2, label="grpo", out=out) as write:
        write(1, {"reward": 0.5})
        write(2, {"reward": 0.75})
    last = out.getvalue().split("\r")[-1]
    assert "grpo" in last
    assert "2/2" in last
    assert "reward 0.750" in last
