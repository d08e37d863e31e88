import json

import numpy as np
import pytest
from matplotlib.image import imread

from jaxrl.metrics import json_lines
from jaxrl.report import (
    append_transcripts,
    curve,
    plot,
    smooth,
    transcript,
    write_summary,
)
from jaxrl.rollout.types import Failure, Problem


@pytest.mark.parametrize("window", [1, 3, 5, 9])
def test_smoothing_is_the_mean_of_the_neighbours_there_are(window):
    values = np.random.default_rng(0).normal(size=6)
    half = window // 2
    expected = [values[max(i - half, 0) : i + half + 1].mean() for i in range(6)]
    np.testing.assert_allclose(smooth(values, window), expected)


def test_smoothing_keeps_the_length_of_a_short_curve():
    np.testing.assert_allclose(smooth(np.array([1.0, 3.0]), 9), [2.0, 2.0])


def test_a_curve_holds_the_steps_at_which_it_was_logged():
    rows = [
        {"step": 1, "a": 0.5},
        {"step": 2},
        {"step": 3, "a": None},
        {"step": 4, "a": 1},
    ]
    steps, values = curve(rows, "a")
    assert steps.tolist() == [1, 4]
    assert values.tolist() == [0.5, 1]
    assert [len(part) for part in curve(rows, "b")] == [0, 0]


def drawn(tmp_path, rows, **settings):
    with json_lines(tmp_path / "metrics.jsonl") as write:
        for step, values in enumerate(rows, 1):
            write(step, values)
    picture = tmp_path / "figures" / "curves.png"
    plot(tmp_path / "metrics.jsonl", picture, title="sums", **settings)
    return imread(picture)


def test_the_picture_grows_with_the_panels_that_have_data(tmp_path):
    two = drawn(tmp_path, [{"reward": 0.1, "heldout_accuracy": 0.2}] * 3)
    metrics = {"reward": 0.1, "heldout_accuracy": 0.2, "logp_gap": 0.0, "ref_kl": 0.1}
    four = drawn(tmp_path, [{**metrics, "response_tokens": 9.0}] * 3)
    assert four.shape[0] > 1.5 * two.shape[0]
    assert four.shape[1] == two.shape[1]


@pytest.mark.parametrize("rows", [[], [{}], [{"other": 1.0}], [{"loss": float("nan")}]])
def test_a_run_without_curves_still_gets_a_picture(tmp_path, rows):
    assert drawn(tmp_path, rows).size > 0


def test_long_curves_and_baselines_are_drawn(tmp_path):
    rows = [{"heldout_accuracy": i / 200} for i in range(100)]
    plain = drawn(tmp_path, rows)
    marked = drawn(tmp_path, rows, baselines={"after warm-up": 0.8})
    assert np.abs(plain - marked).max() > 0.5


def test_a_summary_is_json_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "run" / "summary.json"
    write_summary(path, {"seed": 1})
    write_summary(path, {"seed": 2, "heldout_accuracy": {"final": 0.5}})
    assert json.loads(path.read_text()) == {
        "seed": 2,
        "heldout_accuracy": {"final": 0.5},
    }
    assert [p.name for p in path.parent.iterdir()] == ["summary.json"]


def test_a_transcript_shows_prompt_answer_responses_and_rewards():
    text = transcript(
        Problem("p1", "", "2"),
        [("1+1=", "tell me"), ("2", "oops")],
        1.5,
        heading="step 5",
    )
    assert text.startswith("## step 5: p1\n")
    places = [text.index(part) for part in ("`2`", "1+1=", "tell me", "oops", ": 1.5")]
    assert places == sorted(places)


def test_a_transcript_says_what_failed_and_expects_nothing_unknown():
    failure = Failure("timeout", "after 10 s")
    text = transcript(Problem("p", "", None), [("q", "a")], failure, heading="x")
    assert text.endswith("Reward: timeout: after 10 s\n\n")
    assert "Expected" not in text


def test_backticks_in_a_response_do_not_end_its_block():
    text = transcript(Problem("p", "", "a"), [("q", "```\n# big")], 0.0, heading="x")
    assert "````text\n```\n# big\n````" in text


def test_transcripts_are_added_at_the_end(tmp_path):
    path = tmp_path / "transcripts.md"
    append_transcripts(path, ["one\n", "two\n"])
    append_transcripts(path, ["three\n"])
    assert path.read_text() == "one\ntwo\nthree\n"
