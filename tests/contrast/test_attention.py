"""PAI's attention and OPERA's penalty: oracles of multimodal.md 2(f), and by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.contrast.attention import (
    FIRST_TOKENS,
    amplified,
    over_trust,
    penalised,
    rollback_position,
)

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


def test_oracle_of_amplified_attention(variant):
    scores = jnp.array([[9.0, 9.0, 9.0], [-1.0, 0.5, 2.0]])
    image = jnp.array([True, True, False])
    found = variant(partial(amplified, weight=0.5))(scores, image)
    close(found, [[9, 9, 9], [-0.5, 0.75, 2]])
    close(jax.nn.softmax(found[1]), [0.059978, 0.209343, 0.730679])


def looking(size, start):
    """Attention of random rows, not normalised; one image token in front."""
    rng = np.random.default_rng(0)
    attention = np.tril(rng.uniform(0.1, 1.0, (size, size)))
    return jnp.asarray(attention, jnp.float32), jnp.arange(size) == start - 2


def test_first_tokens_are_rewarded_for_looking_at_the_image():
    attention, image = looking(FIRST_TOKENS + 2, 2)
    found = over_trust(attention, image, start=2)
    close(found.penalty, -attention[-1, 0] / attention[-1].sum())


def test_later_tokens_pay_for_the_strongest_column():
    start, size = 2, FIRST_TOKENS + 3
    attention, image = looking(size, start)
    found = over_trust(attention, image, start=start, scale=20.0)
    rows = np.asarray(attention / attention.sum(1, keepdims=True)) * 20
    columns = [1e-7 * np.prod(rows[c:, c]) for c in range(start, size)]
    close(found.columns, columns, rtol=1e-4)
    close(found.penalty, max(columns), rtol=1e-4)
    assert found.rollback == np.argmax(columns)
    close(penalised(jnp.float32(3.0), found, weight=2.0), 3 - 2 * max(columns))


def test_rollback_is_where_most_point():
    attention, image = looking(4, 2)
    trust = over_trust(attention, image, start=2)
    trust = trust._replace(rollback=jnp.array([[2, 2, 0], [1, 0, 1], [2, 1, 2]]))
    assert rollback_position(trust, size=3) == 2
    trust = trust._replace(rollback=jnp.array([[2, 0], [1, 1]]))
    assert rollback_position(trust, size=3) == 0
