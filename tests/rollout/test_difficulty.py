"""Statistics of prompts: counted at once, priorities on request, plain JSON."""

import json

import numpy as np

from jaxrl.rollout.difficulty import PromptStatistics


def counted():
    return PromptStatistics().updated(
        ["a", "b", "a", "a", "a"], [1.0, -1.0, 0.0, 0.5, 2.0]
    )


def test_samples_and_successes_are_counted():
    statistics = counted().updated(["b"], [0.0])
    assert statistics.samples == {"a": 4, "b": 2}
    assert statistics.successes == {"a": 3, "b": 0}


def test_priorities_change_only_when_refreshed():
    statistics = counted()
    np.testing.assert_array_equal(statistics.of(["a", "c"])[1], [-1, -1])
    samples, priorities = statistics.refreshed().of(["a", "b", "c"])
    np.testing.assert_array_equal(samples, [4, 1, 0])
    np.testing.assert_allclose(priorities, [0.25 + 1e-6 / 4, -1, -1])
    later = statistics.refreshed().updated(["a"] * 4, [0.0] * 4)
    assert later.priorities == statistics.refreshed().priorities
    assert later.samples["a"] == 8


def test_the_old_statistics_stay_as_they_are():
    statistics = counted()
    statistics.updated(["a"], [1.0]).refreshed()
    assert statistics == counted()


def test_json_and_back_is_the_same():
    statistics = counted().refreshed()
    text = json.dumps(statistics.as_json())
    assert PromptStatistics.from_json(json.loads(text)) == statistics


def test_nothing_known_has_nothing_to_refresh():
    assert PromptStatistics().refreshed() == PromptStatistics()
