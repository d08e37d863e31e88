"""Where batches come from, without a policy."""

import chex
import numpy as np
import pytest

from jaxrl.config import Demonstrations, Preferences
from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem
from jaxrl.source import demonstration_source, preference_source
from tests import tiny


def source(problems, *, seed=0, max_tokens=20, batch_size=3):
    return demonstration_source(
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


def pairs_source(problems, *, max_tokens=20, batch_size=2):
    return preference_source(
        Preferences(problems, batch_size),
        tiny.tokenizer(),
        seed=0,
        max_tokens=max_tokens,
    )


def preference(name, prompt, chosen, rejected):
    return Problem(name, prompt, chosen, {"rejected": rejected})


def test_pairs_hold_both_texts_in_the_same_row():
    problems = [preference(str(n), f"{n}=", str(n), str(9 - n)) for n in range(4)]
    pairs, values = pairs_source(problems, batch_size=4).draw(None, 0)
    assert values == {}
    encode = tiny.tokenizer().encode
    for chosen, rejected in zip(
        pairs.chosen.tokens, pairs.rejected.tokens, strict=True
    ):
        [digit] = [n for n in range(4) if encode(f"{n}=") == chosen[:2].tolist()]
        assert chosen.tolist() == [*encode(f"{digit}={digit}"), tiny.EOS]
        assert rejected.tolist() == [*encode(f"{digit}={9 - digit}"), tiny.EOS]
    assert pairs.chosen.mask.tolist() == [[False, False, True, True]] * 4
    assert pairs.rejected.mask.tolist() == pairs.chosen.mask.tolist()


def test_pairs_go_on_where_their_state_was_taken():
    problems = [preference(str(n), f"{n}=", "1", "22") for n in range(8)]
    first, second = pairs_source(problems), pairs_source(problems)
    first.draw(None, 0)
    second.set_state(first.get_state())
    chex.assert_trees_all_equal(first.draw(None, 1), second.draw(None, 1))


@pytest.mark.parametrize("side", [0, 1])
def test_a_pair_with_a_text_too_long_is_named(side):
    texts = ["2", "2"]
    texts[side] = "2" * 19
    with pytest.raises(UserError, match=r"problem p: .* 21 tokens, the model takes"):
        pairs_source([preference("p", "1", *texts)])


def test_a_pair_without_two_texts_is_named():
    with pytest.raises(UserError, match="problem p: rejected is None"):
        pairs_source([Problem("p", "1", "2")])
    with pytest.raises(UserError, match="problem q: chosen is ''"):
        pairs_source([preference("q", "1", "", "2")])
