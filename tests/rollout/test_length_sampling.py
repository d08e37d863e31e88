"""Length-aware sampling: oracles of multimodal 1(f) 4, and boundary cases."""

import numpy as np
import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.length_sampling import length_aware


def test_shortest_and_longest_are_kept_but_for_the_tail():
    kept = np.arange(1, 21)[length_aware(np.arange(1, 21))]
    np.testing.assert_array_equal(kept, [*range(1, 7), *range(13, 20)])


def test_ties_at_the_quantiles_are_kept():
    lengths = np.array([12, 12, 12, 30, 30, 30, 30, 80, 80, 200])
    assert length_aware(lengths).all()


def test_order_does_not_matter():
    lengths = np.array([5, 1, 9, 7, 3, 2, 8, 4, 6, 10])
    np.testing.assert_array_equal(
        np.sort(lengths[length_aware(lengths)]), [1, 2, 3, 7, 8, 9, 10]
    )


@pytest.mark.parametrize("lengths", [[], [1, 2, 3], [7, 7, 7, 7, 7]])
def test_too_few_and_all_alike_are_kept(lengths):
    assert length_aware(np.array(lengths)).shape == (len(lengths),)
    assert length_aware(np.array(lengths)).all()


def test_four_prompts_are_enough():
    np.testing.assert_array_equal(
        length_aware(np.array([1, 2, 3, 4]), longest=0.75), [True, True, True, False]
    )


@pytest.mark.parametrize("quantiles", [(0.7, 0.6, 0.9), (0.0, 0.5, 0.9), (0.3, 0.6, 2)])
def test_quantiles_must_rise(quantiles):
    low, high, longest = quantiles
    with pytest.raises(UserError, match="rising"):
        length_aware(np.ones(5), low=low, high=high, longest=longest)
