"""Hypothesis looks for batches that break the laws; see `search.py` for what it draws.

By default it draws the same few for every method, so that CI is deterministic. To look
further: `pytest tests/laws/test_search.py --hypothesis-profile=search`.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.cases import CASES, S
from tests.laws.search import drawn_example, layouts
from tests.laws.training import (
    assert_trained_alike,
    credit_of,
    edit,
    loss_and_gradient,
    map_tokens,
    on_reference,
    spoiled,
    train_on,
    with_rewards_of,
)

FEW = settings(max_examples=10, derandomize=True, deadline=None)
SEARCH = settings.get_profile("search")
searched = SEARCH if settings.get_current_profile_name() == "search" else FEW

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
comparing = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name)
        for name, case in CASES.items()
        if case.method.needs.groups
    ],
)


def close(actual, expected):
    """Up to rounding of the largest number."""
    largest = max(1.0, np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * largest)


def has_company(batch):
    """Which sequences have one of another trajectory in their group; bool [S]."""
    own = np.arange(S) if batch.steps.trajectory is None else batch.steps.trajectory
    return np.bincount(batch.group[np.unique(own)], minlength=S)[batch.group] > 1


@every_case
@searched
@given(layout=layouts)
def test_results_are_finite_and_none_is_outside_of_the_mask(case, layout):
    example = drawn_example(case, layout)
    credit, loss, gradient = train_on(case.method, example)
    means = {name: mean.result() for name, mean in loss.metrics.items()}
    chex.assert_tree_all_finite((credit, loss.value, means, gradient))
    assert np.all(credit.weights >= 0)
    for x in (credit.weights, credit.advantages, gradient.logp):
        assert not np.any(np.where(example.batch.mask, 0, x))


@every_case
@searched
@given(layout=layouts, garbage=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_garbage_outside_of_the_mask_does_not_matter(case, layout, garbage):
    example = drawn_example(case, layout)
    clean, dirty = (
        train_on(case.method, x) for x in (example, spoiled(example, garbage))
    )
    assert_trained_alike(clean, dirty)


@comparing
@searched
@given(layout=layouts)
def test_groups_of_equal_rewards_get_exactly_nothing(case, layout):
    batch = drawn_example(case, layout).batch
    level = np.where(has_company(batch), np.array(layout.rewards)[batch.group], 0.0)
    credit = credit_of(case.method, with_rewards_of(level, batch))
    assert np.array_equal(credit.advantages, np.zeros_like(credit.advantages))


@every_case
@searched
@given(layout=layouts)
def test_slope_is_one_at_ratio_one(case, layout):
    example = drawn_example(case, layout)
    example = on_reference(edit(example, old_logp=example.scores.logp))
    credit, _, gradient = train_on(case.method, example)
    close(gradient.logp, case.gradient(example, credit))


@every_case
@searched
@given(layout=layouts, order=st.permutations(range(S)))
def test_order_of_rows_does_not_matter(case, layout, order):
    example = drawn_example(case, layout)
    order = np.array(order)
    shuffled = map_tokens(lambda x, _: x[order], example)
    (*_, gradient), (*_, moved) = (
        train_on(case.method, x) for x in (example, shuffled)
    )
    jax.tree.map(close, moved, jax.tree.map(lambda x: np.asarray(x)[order], gradient))


@pytest.mark.parametrize("name", ["grpo_k3", "gspo", "opd", "reinforce_plus_plus"])
@settings(searched, max_examples=3)
@given(layout=layouts)
def test_jit_is_eager(name, layout):
    case = CASES[name]
    example = jax.tree.map(jnp.asarray, drawn_example(case, layout))
    scores, batch = example
    credit = case.method.credit(batch)
    eager = credit, *loss_and_gradient(case.method, scores, batch, credit)
    jax.tree.map(close, train_on(case.method, example), eager)
