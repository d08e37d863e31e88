"""Where batches come from, without a policy."""

import chex
import numpy as np
import pytest

from jaxrl.config import Demonstrations
from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem
from jaxrl.source import DemonstrationSource
from tests import tiny


def source(problems, *, seed=0, max_tokens=20, batch_size=3):
    return DemonstrationSource(
        Demonstrations(problems, batch_size),
        tiny.tokenizer(),
        seed=seed,
        max_tokens=max_tokens,
    )


def test_demonstrations_train_the_answer_and_its_end():
    batch, values = source([Problem("a", "12", "345")]).draw(None, 0)
    assert values == {}
    assert batch.prefix is None
    expected = tiny.tokenizer().encode("12345")
    for row, mask in zip(batch.tokens, batch.mask, strict=True):
        assert row.tolist() == [*expected, tiny.EOS]
        assert mask.tolist() == [False, False, True, True, True, True]


def test_batches_have_few_shapes():
    problems = [Problem(str(n), "1", "2" * n) for n in range(1, 9)]
    drawn = source(problems, batch_size=2)
    widths = {drawn.draw(None, step)[0].tokens.shape for step in range(12)}
    assert widths == {(2, 5), (2, 10)}


def test_a_source_goes_on_where_its_state_was_taken():
    first, second = source(tiny.problems(8)), source(tiny.problems(8))
    first.draw(None, 0)
    state = first.get_state()
    expected = [first.draw(None, step)[0] for step in (1, 2, 3)]
    second.set_state(state)
    found = [second.draw(None, step)[0] for step in (1, 2, 3)]
    chex.assert_trees_all_equal(found, expected)
    other = source(tiny.problems(8), seed=1).draw(None, 0)[0]
    same = source(tiny.problems(8)).draw(None, 0)[0]
    assert not np.array_equal(other.tokens, same.tokens)


def test_an_example_too_long_for_the_model_is_named():
    problems = [Problem("short", "1", "2"), Problem("long", "1" * 18, "22")]
    with pytest.raises(UserError, match=r"problem long: .* 21 tokens, the model takes"):
        source(problems)
