import json
import sys
from pathlib import Path

import pytest

from jaxrl.errors import UserError
from jaxrl.metrics import fan_out, json_lines, read_lines, sinks, wandb

NAN = float("nan")


def events(directory):
    """Tag, step and value of each scalar and restart in TensorBoard's files."""
    from tensorboardX.event_file_writer import event_pb2

    found = []
    for file in sorted(directory.glob("events*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16
            if event.HasField("session_log"):
                found.append(("from here on", event.step, 0))
            found += [
                (v.tag, event.step, round(v.simple_value, 6))
                for v in event.summary.value
            ]
    return found


def test_each_call_is_one_line_that_can_be_read_at_once(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with json_lines(path) as write:
        write(1, {"reward": 0.5})
        assert json.loads(path.read_text()) == {"step": 1, "reward": 0.5}
        write(2, {"reward": 1})
    assert read_lines(path) == [{"step": 1, "reward": 0.5}, {"step": 2, "reward": 1.0}]


@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_null(tmp_path, value):
    path = tmp_path / "metrics.jsonl"
    with json_lines(path) as write:
        write(1, {"loss": value})
    assert path.read_text() == '{"step": 1, "loss": null}\n'


def written(path, steps, resumed_step=0):
    with json_lines(path, resumed_step=resumed_step) as write:
        for step in steps:
            write(step, {"reward": step + 0.5 * (resumed_step > 0)})


def test_resuming_cuts_the_lines_that_will_be_written_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, [1, 2, 3, 4])
    written(path, [3, 4], resumed_step=2)
    assert [(r["step"], r["reward"]) for r in read_lines(path)] == [
        (1, 1.0),
        (2, 2.0),
        (3, 3.5),
        (4, 4.5),
    ]


def test_a_new_run_starts_an_empty_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, [1, 2])
    written(path, [1])
    assert [r["step"] for r in read_lines(path)] == [1]


def test_a_line_cut_off_by_a_crash_is_left_out_when_resuming(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, [1, 2])
    path.write_text(path.read_text()[:-5])
    written(path, [2], resumed_step=1)
    assert [r["step"] for r in read_lines(path)] == [1, 2]


def test_a_broken_line_in_the_middle_is_an_error_with_its_number(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2 is not JSON"):
        read_lines(path)


def test_a_file_that_is_not_there_has_no_lines(tmp_path):
    assert read_lines(tmp_path / "none.jsonl") == []


def test_fan_out_feeds_every_sink_in_order():
    calls = []
    both = fan_out(
        lambda step, values: calls.append(("first", step, values)),
        lambda step, values: calls.append(("second", step, values)),
    )
    both(3, {"a": 1.0})
    assert calls == [("first", 3, {"a": 1.0}), ("second", 3, {"a": 1.0})]


def test_a_run_writes_json_lines_and_tensorboard(tmp_path):
    with sinks(tmp_path, config={}) as write:
        write(1, {"reward": 0.25, "loss": 2.0})
    assert read_lines(tmp_path / "metrics.jsonl") == [
        {"step": 1, "reward": 0.25, "loss": 2.0}
    ]
    assert events(tmp_path / "tensorboard") == [("reward", 1, 0.25), ("loss", 1, 2.0)]


def test_a_resumed_run_goes_on_in_both(tmp_path):
    for resumed_step, steps in ((0, (1, 2, 3)), (1, (2, 3))):
        with sinks(tmp_path, config={}, resumed_step=resumed_step) as write:
            for step in steps:
                write(step, {"reward": float(step)})
    assert [r["step"] for r in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert events(tmp_path / "tensorboard")[-3:] == [
        ("from here on", 2, 0),  # TensorBoard hides what the first run wrote from here
        ("reward", 2, 2),
        ("reward", 3, 3),
    ]


def test_weights_and_biases_gets_the_run_and_every_step():
    calls = []

    class Run:
        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finished")

    def start(**settings):
        calls.append(settings)
        return Run()

    with wandb("sums", Path("runs/one"), {"seed": 3}, start=start) as write:
        write(5, {"reward": 1.0})
    assert calls[0]["project"] == "sums"
    assert (calls[0]["id"], calls[0]["resume"]) == ("one", "allow")
    assert calls[0]["config"] == {"seed": 3}
    assert calls[1:] == [(5, {"reward": 1.0}), "finished"]


def test_weights_and_biases_that_is_not_installed_is_a_clear_error(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(UserError, match=r"wandb_project is set but wandb is not inst"),
        sinks(tmp_path, config={}, wandb_project="sums"),
    ):
        pass
    assert not (tmp_path / "metrics.jsonl").exists()
