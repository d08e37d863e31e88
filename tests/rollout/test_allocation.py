"""Allocation: oracles of policy_opt 4.6, invariants I1 to I3 of 4.7."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.errors import UserError
from jaxrl.rollout.allocation import Budget, multi_round, one_shot, priority

BOTH = pytest.mark.parametrize("allocate", [multi_round, one_shot])


@pytest.mark.parametrize(
    ("successes", "samples", "expected"),
    [
        (0, 8, 0.01),
        (1, 8, 0.125000875),
        (2, 8, 0.214286464),
        (4, 8, 0.285714786),
        (6, 8, 0.214285964),
        (7, 8, 0.01),
        (8, 8, 0.01),
        (3, 24, 0.114131310),
        (2, 3, -1),
        (0, 0, -1),
    ],
)
def test_priority_oracle(successes, samples, expected):
    found = priority(np.array([samples]), np.array([successes]))
    np.testing.assert_allclose(found, [expected], rtol=1e-8)


def known(samples, successes):
    samples = np.array(samples)
    return samples, priority(samples, np.array(successes))


# Samples, priorities, budget and bounds, and what multi_round gives.
ORACLES = {
    "A": (*known([8] * 4, [4, 1, 0, 8]), 64, 8, 24, [24, 21, 10, 9]),
    "B cold start": ([0] * 4, [-1] * 4, 64, 8, 24, [16] * 4),
    "C mixed": (
        *known([0, 16, 16, 16], [0, 8, 4, 15]),
        *(64, 8, 24, [8, 24, 23, 9]),
    ),
    "D scarce": ([0, 0, 1, 8], [-1, -1, -1, 0.25], 12, 2, 24, [4, 4, 3, 1]),
    "E no cap": ([32] * 3, [0.25, 0.1875, 0.0625], 24, 4, 24, [10, 9, 5]),
    "F": (*known([32] * 5, [16, 8, 4, 30, 0]), 80, 4, 24, [24, 24, 21, 6, 5]),
}


@pytest.mark.parametrize("name", ORACLES)
def test_multi_round_oracle(name):
    samples, priorities, total, lowest, highest, expected = ORACLES[name]
    budget = Budget(total, lowest, highest)
    found = multi_round(np.array(samples), np.array(priorities), budget)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [n for n in ORACLES if not n.startswith("D")])
def test_one_shot_oracle(name):
    samples, priorities, total, lowest, highest, expected = ORACLES[name]
    budget = Budget(total, lowest, highest)
    found = one_shot(np.array(samples), np.array(priorities), budget)
    expected = [24, 22, 9, 9] if name == "A" else expected
    np.testing.assert_array_equal(found, expected)


@st.composite
def problems(draw):
    """Any prompts, with a budget that allows for exploration and the floor."""
    number = draw(st.integers(1, 8))
    lowest = draw(st.integers(0, 8))
    highest = lowest + draw(st.integers(1, 16))
    average = draw(st.integers(max(lowest, 4), 30))
    samples = draw(st.lists(st.integers(0, 40), min_size=number, max_size=number))
    shares = draw(st.lists(st.integers(0, 40), min_size=number, max_size=number))
    successes = np.minimum(samples, shares)
    budget = Budget(number * average, lowest, highest)
    return np.array(samples), priority(np.array(samples), successes), budget


@BOTH
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_budget_and_bounds_hold(allocate, problem):
    samples, priorities, budget = problem
    counts = allocate(samples, priorities, budget)
    number, lowest, highest = len(samples), budget.lowest, budget.highest
    assert counts.sum() == min(max(budget.total, number * lowest), number * highest)
    assert np.all((counts >= lowest) & (counts <= highest))


@BOTH
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_known_prompts_of_higher_priority_get_no_less(allocate, problem):
    """To within one, which rounding takes."""
    samples, priorities, budget = problem
    counts = allocate(samples, priorities, budget)
    explored = samples >= max(budget.lowest, 4)
    for i in np.flatnonzero(explored):
        above = explored & (priorities > priorities[i])
        assert np.all(counts[above] >= counts[i] - 1)


@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_one_shot_treats_equals_alike(problem):
    samples, priorities, budget = problem
    counts = one_shot(samples, priorities, budget)
    explored = samples >= max(budget.lowest, 4)
    for value in set(priorities[explored]):
        assert np.ptp(counts[explored & (priorities == value)]) <= 1


@BOTH
def test_cold_start_is_uniform_to_within_one(allocate):
    unknown = np.zeros(3, int), np.full(3, -1.0)
    counts = allocate(*unknown, Budget(total=50, lowest=4, highest=24))
    assert sorted(counts) == [16, 17, 17]


@BOTH
def test_order_of_prompts_does_not_matter(allocate):
    samples, priorities = np.full(4, 32), np.array([0.26, 0.19, 0.07, 0.13])
    shared = partial(allocate, budget=Budget(total=41, lowest=4, highest=24))
    counts = shared(samples, priorities)
    np.testing.assert_array_equal(shared(samples, priorities[::-1]), counts[::-1])


def variance_left(rates, power):
    """`sum of variance / n` with n in proportion to variance^power, budget 1."""
    variances = rates * (1 - rates)
    shares = variances**power / np.sum(variances**power)
    return np.sum(variances / shares)


def test_root_of_the_variance_beats_uniform_and_the_variance_does_not():
    rng = np.random.default_rng(0)
    for _ in range(50):
        rates = rng.uniform(0.01, 0.99, 6)
        uniform = variance_left(rates, 0.0)
        assert variance_left(rates, 0.5) <= uniform * (1 + 1e-12)
        np.testing.assert_allclose(variance_left(rates, 1.0), uniform)


def test_rules_compare_as_in_the_oracle():
    rates = np.array([0.5, 0.1, 0.9, 0.02])
    found = [variance_left(rates, power) / 64 for power in (0.5, 1.0, 0.0)]
    np.testing.assert_allclose(found, [0.024025, 0.0281, 0.0281], atol=5e-7)


def test_power_of_one_half_gives_the_optimal_shares():
    """Neyman: deviations of .5, .4 and .1 share 30 samples as 15, 12 and 3."""
    samples = np.full(3, 10**9)
    rates = np.array([0.5, 0.2, (1 - np.sqrt(0.96)) / 2])
    priorities = priority(
        samples, (rates * samples).astype(int), power=0.5, floor=0.0, tie=0.0
    )
    np.testing.assert_allclose(priorities, [0.5, 0.4, 0.1], rtol=1e-6)
    counts = multi_round(samples, priorities, Budget(30, lowest=0, highest=30))
    np.testing.assert_array_equal(counts, [15, 12, 3])


def test_harder_of_two_prompts_of_equal_variance_comes_first():
    hard, easy = priority(np.array([8, 8]), np.array([2, 6]))
    assert hard > easy


def test_bounds_in_the_wrong_order_are_an_error():
    with pytest.raises(UserError, match="lowest is 9"):
        Budget(total=8, lowest=9, highest=4)
