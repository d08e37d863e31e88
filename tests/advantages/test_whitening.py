"""Whitening: the REINFORCE++-baseline oracle of policy_opt 5.3."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.advantages.whitening import whiten

LENGTHS = [2, 3, 1, 2, 1, 4]
CENTRED = [0.5, -0.5, 0.25, 0.25, 0.25, -0.75]


@pytest.mark.parametrize(
    ("ddof", "expected"),
    [
        (0, [1.380537, -0.613572, 0.882010, 0.882010, 0.882010, -1.112099]),
        (1, [1.326377, -0.589501, 0.847408, 0.847408, 0.847408, -1.068470]),
    ],
)
def test_oracle(variant, ddof, expected):
    mask = jnp.arange(4)[None, :] < jnp.array(LENGTHS)[:, None]
    x = jnp.where(mask, jnp.array(CENTRED)[:, None], jnp.nan)
    found = variant(partial(whiten, ddof=ddof))(x, mask)
    np.testing.assert_allclose(
        found, np.where(mask, np.array(expected)[:, None], 0), rtol=1e-5
    )


def test_one_token_and_none_are_finite():
    x = jnp.ones((1, 2))
    for mask in ([[True, False]], [[False, False]]):
        np.testing.assert_array_equal(whiten(x, jnp.array(mask)), np.zeros((1, 2)))
