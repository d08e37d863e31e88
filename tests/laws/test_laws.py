"""What holds for every method, whatever the paper. The methods are in `cases.py`."""

import dataclasses
from operator import itemgetter

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.layout import micro_batches
from jaxrl.types import Evidence, Method
from tests.laws.cases import CASES, Example, make_example
from tests.laws.training import (
    assert_trained_alike,
    close,
    close_trees,
    credit_of,
    edit,
    loss_and_gradient,
    loss_of,
    map_sequences,
    map_tokens,
    on_reference,
    spoiled,
    train_at_once,
    train_on,
    with_rewards_of,
    without_advantages,
)

pytestmark = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_method_is_a_value(case):
    assert isinstance(case.method, Method)
    assert case.method == dataclasses.replace(case.method)
    assert hash(case.method) == hash(dataclasses.replace(case.method))


def test_credit_is_finite_and_zero_outside_of_the_mask(case):
    batch = make_example(case).batch
    credit = credit_of(case.method, batch)
    assert credit.weights.shape == credit.advantages.shape == batch.tokens.shape
    chex.assert_tree_all_finite(credit)
    for x in (credit.advantages, credit.weights):
        assert not np.any(np.where(batch.mask, 0, x))
    assert np.all(credit.weights >= 0)
    assert np.any(credit.weights > 0)


def test_slope_is_one_at_ratio_one(case):
    example = make_example(case)
    example = on_reference(edit(example, old_logp=example.scores.logp))
    credit, _, gradient = train_on(case.method, example)
    close(gradient.logp, case.gradient(example, credit))


def test_no_advantage_no_policy_gradient(case):
    example = on_reference(make_example(case))
    credit = credit_of(case.method, example.batch)
    credit = without_advantages(credit)
    _, gradient = loss_of(case.method, example.scores, example.batch, credit)
    close(gradient.logp, case.gradient(example, credit))


def test_groups_of_equal_rewards_get_exactly_nothing(case):
    if not case.method.needs.groups:
        pytest.skip("does not compare the sequences of a group")
    batch = make_example(case).batch
    level = np.where(batch.mask.any(1), 0.1 * (1 + batch.group), 0.0)
    credit = credit_of(case.method, with_rewards_of(level, batch))
    assert np.array_equal(credit.advantages, np.zeros_like(credit.advantages))


def test_order_of_rows_does_not_matter(case):
    example = make_example(case)
    order = np.random.default_rng(1).permutation(len(example.batch.tokens))
    shuffled = map_tokens(lambda x, _: x[order], example)
    (_, loss, gradient), (_, other, moved) = (
        train_on(case.method, e) for e in (example, shuffled)
    )
    close_trees(other, loss)
    close_trees(moved, jax.tree.map(lambda x: np.asarray(x)[order], gradient))


def test_names_of_sequences_and_groups_do_not_matter(case):
    example = make_example(case)
    batch, number = example.batch, len(example.batch.group)
    order = np.random.default_rng(2).permutation(number)
    renamed = map_sequences(lambda x: x[order], batch)
    renamed = dataclasses.replace(
        renamed,
        group=number - 1 - renamed.group,
        sequence=np.where(
            batch.sequence < 0, -1, np.argsort(order).astype(np.int32)[batch.sequence]
        ),
    )
    (_, loss, gradient), (_, other, same) = (
        train_on(case.method, e) for e in (example, Example(example.scores, renamed))
    )
    close_trees((other, same), (loss, gradient))


def test_padding_and_failed_sequences_do_not_matter(case):
    example = make_example(case)
    rows, columns = example.batch.tokens.shape
    extra, wide = 2, 3

    def pad(x, fill):
        widths = [(0, extra), (0, wide)] + [(0, 0)] * (x.ndim - 2)
        return np.pad(x, widths, constant_values=fill)

    def fail(x):
        return np.pad(x, [(0, extra)] + [(0, 0)] * (x.ndim - 1))

    padded = map_tokens(pad, example)
    batch = map_sequences(fail, padded.batch)
    names = np.arange(len(batch.group), dtype=np.int32)
    # The first extra row is a failed sequence, the second is all padding.
    batch.sequence[rows] = rows
    batch = dataclasses.replace(batch, group=np.where(names < rows, batch.group, names))
    _, loss, gradient = train_on(case.method, example)
    _, other, same = train_at_once(case.method, Example(padded.scores, batch))
    close_trees(other, loss)
    close_trees(jax.tree.map(lambda x: np.asarray(x)[:rows, :columns], same), gradient)
    for x in jax.tree.leaves(same):
        assert not np.any(np.asarray(x)[rows:])
        assert not np.any(np.asarray(x)[:, columns:])


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_garbage_outside_of_the_mask_does_not_matter(case, garbage):
    example = make_example(case)
    clean, dirty = (
        train_on(case.method, e) for e in (example, spoiled(example, garbage))
    )
    assert_trained_alike(clean, dirty)


@pytest.mark.parametrize("sign", [-1, 1])
def test_huge_ratios_stay_finite(case, sign):
    example = make_example(case)
    example = edit(example, logp=example.batch.old_logp + np.float32(60 * sign))
    chex.assert_tree_all_finite(train_on(case.method, example))


def test_an_empty_batch_gives_nothing(case):
    example = make_example(case)
    example = edit(example, mask=np.zeros_like(example.batch.mask))
    credit, loss, gradient = train_on(case.method, example)
    assert loss.value == 0
    for x in jax.tree.leaves((gradient, credit.weights)):
        assert not np.any(x)
    chex.assert_tree_all_finite({k: m.result() for k, m in loss.metrics.items()})


@pytest.mark.parametrize("count", [2, 4])
def test_micro_batches_add_up(case, count):
    example = make_example(case)
    credit, loss, gradient = train_on(case.method, example)
    batches, credits = micro_batches(example.batch, credit, count)
    scores = jax.tree.map(
        lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), example.scores
    )
    parts = [
        loss_of(case.method, *jax.tree.map(itemgetter(i), (scores, batches, credits)))
        for i in range(count)
    ]
    total = parts[0][0]
    for part, _ in parts[1:]:
        total = total + part
    close_trees(total, loss)
    stacked = jax.tree.map(lambda *x: np.stack(x, axis=1), *(g for _, g in parts))
    close_trees(
        jax.tree.map(lambda x, y: x.reshape(y.shape), stacked, gradient), gradient
    )


def test_packed_is_unpacked(case):
    """Two sequences per row, the second right behind the first."""
    example = make_example(case)
    rows, columns = example.batch.tokens.shape
    valid = example.batch.sequence.reshape(rows // 2, 2 * columns) >= 0
    order = np.argsort(~valid, axis=1, stable=True)

    def pack(x, _):
        x = x.reshape(rows // 2, 2 * columns, *x.shape[2:])
        return np.stack([row[o] for row, o in zip(x, order, strict=True)])

    credit, loss, gradient = train_on(case.method, example)
    packed_credit, packed_loss, packed_gradient = train_at_once(
        case.method, map_tokens(pack, example)
    )
    close_trees(packed_loss, loss)
    expected = jax.tree.map(lambda x: pack(np.asarray(x), 0), (credit, gradient))
    close_trees((packed_credit, packed_gradient), expected)


def test_eight_devices_are_one(case):
    """Rows are sharded over explicit axes, numbers per sequence are on every device."""
    example = make_example(case)
    expected = train_on(case.method, example)
    mesh = jax.make_mesh((8,), ("data",))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    example = map_tokens(lambda x, _: jax.device_put(x, rows), example)
    with jax.set_mesh(mesh):
        batch = map_sequences(
            lambda x: jax.device_put(x, jax.NamedSharding(mesh, jax.P())),
            example.batch,
        )
        found = train_at_once(case.method, Example(example.scores, batch))
        assert found[2].logp.sharding.spec[0] == "data"
    close_trees(jax.device_get(found), expected)


def test_jit_is_eager_and_traces_once(case):
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def traced(scores, batch, credit):
        return loss_and_gradient(case.method, scores, batch, credit)

    for seed in (0, 1):
        example = jax.tree.map(jnp.asarray, make_example(case, seed))
        credit = case.method.credit(example.batch)
        close_trees(credit, credit_of(case.method, example.batch))
        inputs = (example.scores, example.batch, credit)
        close_trees(traced(*inputs), loss_and_gradient(case.method, *inputs))


def test_needs_are_needed(case):
    """A method that asks for evidence and doesn't read it costs a forward pass."""
    example = make_example(case)
    asked = [
        f.name
        for f in dataclasses.fields(Evidence)
        if getattr(example.batch.evidence, f.name) is not None
    ]
    for name in asked:
        with pytest.raises(ValueError, match=name):
            train_on(case.method, edit(example, evidence={name: None}))
