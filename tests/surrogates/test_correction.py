"""Importance corrections at the three levels, by hand."""

import math
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.surrogates.correction import (
    masked_importance,
    truncated_importance,
    within,
)
from jaxrl.surrogates.ratio import (
    mean_log_ratio,
    sequence_log_ratio,
    token_log_ratio,
)

RATIO = np.array([[4.0, 0.25, 4.0, 0.5, 9.0]], np.float32)
MASK = jnp.array([[1, 1, 1, 1, 0]], bool)
SEQUENCE = jnp.array([[0, 0, 0, 1, 1]])
LEVELS = [
    (token_log_ratio, [4, 0.25, 4, 0.5]),
    (sequence_log_ratio, [4, 4, 4, 0.5]),
    (mean_log_ratio, [4 ** (1 / 3)] * 3 + [0.5]),
]


def correct(kernel, level, **bounds):
    logp = jnp.where(MASK, jnp.log(RATIO), jnp.nan)
    kernel = partial(kernel, level=level, sequence=SEQUENCE, **bounds)
    return kernel(logp, jnp.zeros_like(logp), MASK)[0]


@pytest.mark.parametrize(("level", "ratio"), LEVELS)
def test_truncated_importance(level, ratio):
    found = correct(truncated_importance, level, cap=2.0)
    np.testing.assert_allclose(found, [*np.minimum(ratio, 2), 0], rtol=1e-6)
    found = correct(truncated_importance, level, cap=math.inf)
    np.testing.assert_allclose(found, [*ratio, 0], rtol=1e-6)


@pytest.mark.parametrize(("level", "ratio"), LEVELS)
def test_masked_importance(level, ratio):
    found = correct(masked_importance, level, low=0.4, high=2.0)
    expected = [r if 0.4 <= r <= 2 else 0 for r in ratio]
    np.testing.assert_allclose(found, [*expected, 0], rtol=1e-6)


def test_bounds_are_accepted():
    x = jnp.array([1.0, 2.0, 3.0, 4.0])
    assert within(x, low=2.0, high=3.0).tolist() == [False, True, True, False]
    assert within(x, high=1.0).tolist() == [True, False, False, False]
