"""Medians, ratios and the written results, on steps with known numbers."""

import pytest

from benchmarks import report
from benchmarks.workloads import WORKLOADS, product_flops


def step(total, peak=1e9, compilations=3):
    return {
        "generate": total / 4,
        "update": total * 3 / 4,
        "total": total,
        "lengths": [128] * 64,
        "peak_bytes": int(peak),
        "compilations": compilations,
        "compile_seconds": 1.5,
    }


def summary(total, peak=1e9):
    return report.summarise("S", [step(99.0, peak), step(total, peak)], 1, 1e11)


def run(summaries):
    about = {"settings": "as is", "versions": {"library": "1.0"}}
    return {
        "workload": "S",
        "command": "python benchmarks/grpo_step.py",
        "date": "2026-11-21 12:00",
        "cpus": 2,
        "load": [0.1, 2.0],
        "rounds": 1,
        "warmup": 1,
        "matmul_rate": 2e11,
        "summaries": {n: vars(s) for n, s in summaries.items()},
        "implementations": dict.fromkeys(summaries, about),
    }


def test_a_summary_is_the_median_of_the_steps_after_warm_up():
    steps = [step(90.0), step(4.0, 3e9, 4), step(8.0, 2e9, 5), step(5.0, 2e9, 5)]
    found = report.summarise("S", steps, warmup=2, rate=1e11)
    assert (found.generate, found.update, found.total) == (1.625, 4.875, 6.5)
    assert found.tokens_per_second == pytest.approx(8192 * (1 / 8 + 1 / 5) / 2)
    assert found.peak_bytes == 3e9
    assert (found.compilations, found.late_compilations) == (5, 1)


def test_the_share_is_the_rate_of_the_products_over_the_rate_of_the_machine():
    flops = product_flops(WORKLOADS["S"], 8192)
    assert summary(5.0).matmul_share == pytest.approx(flops / 5.0 / 1e11)


@pytest.mark.parametrize(
    ("trl", "tunix", "expected"), [(3.0, 5.0, "trl"), (5.0, 3.0, "tunix:16")]
)
def test_the_faster_peer_is_the_one_with_the_shorter_step(trl, tunix, expected):
    found = {"jaxrl": summary(1.0), "trl": summary(trl), "tunix:16": summary(tunix)}
    assert report.faster_peer(found) == expected


def test_without_a_peer_there_is_no_ratio_and_no_verdict():
    found = {"jaxrl": summary(1.0)}
    assert report.faster_peer(found) is None
    assert report.verdict("S", found) == ""
    assert "| - |" in report.table(found)


@pytest.mark.parametrize(
    ("seconds", "peak", "word"),
    [(2.0, 0.5e9, "reached"), (2.9, 0.5e9, "MISSED"), (2.0, 0.7e9, "MISSED")],
)
def test_the_verdict_needs_both_speed_and_memory(seconds, peak, word):
    found = {"jaxrl": summary(seconds, peak), "trl": summary(4.0)}
    assert report.verdict("S", found).startswith(f"Target {word}: {4 / seconds:.2f}")


def test_results_keep_the_latest_run_of_every_workload(tmp_path):
    slow = run({"jaxrl": summary(4.0), "trl": summary(4.0)})
    report.write({**slow, "workload": "V"}, tmp_path)
    report.write(slow, tmp_path)
    fast = run({"jaxrl": summary(2.0), "trl": summary(4.0)})
    text = report.write(fast, tmp_path).read_text()
    assert text.count("\n## ") == 2
    assert "2.00 x as fast" in text.split("## V")[0]
    assert "1.00 x as fast" in text.split("## V")[1]
