import pytest

from jaxrl.rollout.types import Problem
from jaxrl.tasks.exact import exact_reward


@pytest.mark.parametrize(
    ("answer", "text", "expected"),
    [
        ("Paris", " Paris\n", 1),
        ("Paris", "paris", 0),
        ("Paris", "Paris is it", 0),
        ("Paris", "", 0),
        (" 12", "12", 1),
        (12, "12", 1),
    ],
)
def test_only_surrounding_space_is_forgiven(answer, text, expected):
    assert exact_reward(Problem("p", "", answer), text) == expected
