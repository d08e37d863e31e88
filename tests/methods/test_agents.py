"""Agent methods on small batches: worked losses of agentic.md, and reductions."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.methods.added_track import AddedTrack
from jaxrl.methods.dual_track import DualTrackGrpo
from jaxrl.methods.duca import Duca
from jaxrl.methods.gigpo import GiGpo
from jaxrl.methods.grpo import Grpo
from jaxrl.methods.gtpo import Gtpo
from jaxrl.methods.hipif import Hipif
from jaxrl.methods.magnified_track import MagnifiedTrack
from jaxrl.methods.siri import Siri
from jaxrl.methods.skill1 import Skill1
from jaxrl.types import Batch, Scores, Steps

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)


def make_batch(mask, rewards, **fields):
    """One sequence per row, one group, a policy that has not moved."""
    mask = jnp.array(mask, bool)
    rewards = jnp.array(rewards, jnp.float32)
    number, zeros = len(rewards), jnp.zeros(mask.shape, int)
    batch = Batch(
        tokens=zeros,
        sequence=zeros + jnp.arange(number)[:, None],
        mask=mask,
        turn=jnp.where(mask, 0, -1),
        channel=zeros,
        old_logp=jnp.zeros(mask.shape),
        rewards=rewards,
        group=jnp.zeros(number, int),
        version=zeros,
        steps=Steps(jnp.arange(number), rewards[:, 0], jnp.arange(number)),
    )
    return dataclasses.replace(batch, **fields)


def loss_and_gradient(method, batch, logp=None):
    logp = batch.old_logp if logp is None else logp
    credit = method.credit(batch)

    def loss(logp):
        return method.loss(Scores(logp), batch, credit).value

    return jax.value_and_grad(loss)(logp)


def two_answers():
    """agentic.md 3, O3: the first row's schema ends after two tokens."""
    mask = [[1, 1, 0, 1], [1, 1, 1, 0]]
    channel = jnp.zeros((2, 4), int).at[0, :2].set(1)
    ratio = jnp.array([[1.1, 1.4, 9.0, 0.7], [1.3, 1.0, 0.7, 1.0]])
    return make_batch(mask, [[1.1, 1.0], [0.2, 0.0]], channel=channel), jnp.log(ratio)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (DualTrackGrpo(), -0.145416),
        (AddedTrack(), -0.095833),
        # All magnitudes are 1 here, so that both variants give the same.
        (MagnifiedTrack(), -0.095833),
    ],
)
def test_oracle_of_dual_track_loss(method, expected):
    value, _ = loss_and_gradient(method, *two_answers())
    close(value, expected)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (AddedTrack(), [1.523275, 0.738257, -0.923097, -1.338435]),
        (MagnifiedTrack(), [1.362829, 0.882594, -0.778760, -1.194098]),
    ],
)
def test_oracle_of_credit_in_one_track(method, expected):
    """agentic.md 3, O1: one token of the schema, and one behind it."""
    rewards = [[1.1, 1.0], [1.0, 0.0], [0.2, 0.0], [0.0, 0.0]]
    channel = jnp.broadcast_to(jnp.array([1, 0]), (4, 2))
    batch = make_batch(np.ones((4, 2)), rewards, channel=channel)
    credit = method.credit(batch)
    close(credit.advantages[:, 0], expected)
    close(credit.advantages[:, 1], [1.090263, 0.882594, -0.778760, -1.194098])
    assert credit.second is None


@pytest.mark.parametrize("method", [DualTrackGrpo(), AddedTrack(), MagnifiedTrack()])
def test_second_track_does_not_reach_later_tokens(method):
    batch, logp = two_answers()
    _, gradient = loss_and_gradient(method, batch, logp)
    moved = dataclasses.replace(batch, rewards=batch.rewards.at[:, 1].set(0.0))
    _, other = loss_and_gradient(method, moved, logp)
    assert np.all((gradient != other)[0, :1])
    np.testing.assert_array_equal(gradient[:, 2:], other[:, 2:])


def test_oracle_of_dual_track_gradient():
    """agentic.md 3, O4: eight tokens, of which four belong to the schema."""
    channel = jnp.zeros((4, 8), int).at[:, :4].set(1)
    rewards = [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    batch = make_batch(np.ones((4, 8)), rewards, channel=channel)
    _, gradient = loss_and_gradient(DualTrackGrpo(), batch)
    answer, schema = np.sqrt(3) / 8, 0.25 * np.sqrt(3) / 4
    close(4 * gradient[0, 0], -(answer + schema))
    close(4 * gradient[0, 7], -answer)
    credit = DualTrackGrpo().credit(batch)
    scaled = dataclasses.replace(credit, advantages=credit.advantages * 1.2 / 3**0.5)
    value = jax.grad(lambda x: DualTrackGrpo().loss(Scores(x), batch, scaled).value)
    close(4 * value(batch.old_logp)[0, ::7], [-0.258253, -0.15])


# What each method reads so that nothing is left but one outcome per sequence.
ROWS = [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]]
OUTCOMES = np.array([[1.0], [0.0], [0.3], [0.0]])
NOTHING = np.zeros((4, 1))
REDUCED = {
    "gigpo": (GiGpo(step_weight=0.0, kl_coef=0.0), [OUTCOMES], 1, False),
    "gigpo alike": (
        GiGpo(step_weight=0.0, kl_coef=0.0, episodes_alike=True),
        [OUTCOMES],
        1,
        False,
    ),
    "one track": (DualTrackGrpo(clip_high=0.2), [OUTCOMES, OUTCOMES], 0, True),
    "no weight": (
        DualTrackGrpo(second_weight=0.0, clip_high=0.2),
        [OUTCOMES, OUTCOMES[::-1]],
        0,
        True,
    ),
    "no weight, added": (
        AddedTrack(second_weight=0.0, clip_high=0.2),
        [OUTCOMES, OUTCOMES[::-1]],
        0,
        True,
    ),
    "no weight, magnified": (
        MagnifiedTrack(second_weight=0.0, clip_high=0.2),
        [OUTCOMES, OUTCOMES[::-1]],
        0,
        True,
    ),
    "duca": (
        Duca(turn_weight=0.0, clip_high=0.2, kl_coef=0.0),
        [OUTCOMES] * 2,
        0,
        True,
    ),
    "gtpo": (Gtpo(clip_high=0.2), [OUTCOMES], 0, True),
    "hipif": (Hipif(kl_coef=0.0), [OUTCOMES, NOTHING], 0, True),
    "skill1": (
        Skill1(rank_weight=0.0, distil_weight=0.0, kl_coef=0.0),
        [OUTCOMES] * 3,
        0,
        True,
    ),
    "siri": (Siri(GiGpo(step_weight=0.0, kl_coef=0.0)), [OUTCOMES, NOTHING], 1, False),
}


@pytest.mark.parametrize(
    ("method", "columns", "ddof", "by_sequence"), REDUCED.values(), ids=REDUCED
)
def test_with_one_outcome_it_is_grpo(method, columns, ddof, by_sequence):
    """GRPO's deviation divides by n - 1, and its tokens are averaged by sequence."""
    batch = make_batch(ROWS, np.concatenate(columns, 1))
    logp = 0.3 * jax.random.normal(jax.random.key(0), batch.old_logp.shape)
    alone = dataclasses.replace(batch, rewards=batch.rewards[:, :1])
    credit = Grpo().credit(alone)
    scale = 1.0 if ddof else np.sqrt(4 / 3)
    tokens = jnp.where(batch.mask, 1 / batch.mask.sum(), 0.0)
    credit = dataclasses.replace(
        credit,
        advantages=scale * credit.advantages,
        weights=credit.weights if by_sequence else tokens,
    )
    value = jax.value_and_grad(lambda x: Grpo().loss(Scores(x), alone, credit).value)
    expected, found = value(logp), loss_and_gradient(method, batch, logp)
    close(found[0], expected[0], atol=1e-5)
    close(found[1], expected[1], atol=1e-5)


def test_oracle_of_skill1_rankings():
    """agentic.md 7, O4: log-probabilities -2 and -3, rewards 1 and .683911."""
    mask, channel = [[1, 1], [1, 0]], jnp.ones((2, 2), int)
    batch = make_batch(mask, [[0.0, 1.0, 0], [0.0, 0.683911, 0]], channel=channel)
    batch = dataclasses.replace(batch, old_logp=batch.old_logp - 9.0)
    logp = jnp.array([[-1.5, -0.5], [-3.0, -7.0]])
    method = Skill1(rank_weight=1.0, kl_coef=0.0)
    value, gradient = loss_and_gradient(method, batch, logp)
    close(value, 2.025866)
    close(gradient, [[-0.5, -0.5], [-0.683911 / 2, 0]])


def test_skill1_decisions_do_not_share_rewards():
    channel = jnp.broadcast_to(jnp.array([0, 1, 2, 2]), (4, 4))
    rewards = np.concatenate([OUTCOMES, 0.5 + 0 * OUTCOMES, OUTCOMES[::-1]], 1)
    batch = make_batch(np.ones((4, 4)), rewards, channel=channel)
    credit = Skill1().credit(batch)
    for column, tokens in ((0, [0]), (2, [2, 3])):
        moved = rewards.copy()
        moved[0, column] += 5.0
        other = Skill1().credit(dataclasses.replace(batch, rewards=jnp.array(moved)))
        changed = np.any(credit.advantages != other.advantages, axis=0)
        assert np.flatnonzero(changed).tolist() == tokens
    close(credit.weights[0], np.array([1, 0, 0.15, 0.15]) / 4)
    close(credit.second.weights[0], np.array([0, 0.3, 0, 0]) / 4)


def test_oracle_of_siri_imitation():
    """distillation.md 5-B, amid the warm-up; a third row is plain."""
    mask = np.ones((3, 4))
    channel = jnp.array([[2, 2, 1, 1], [2, 1, 1, 2], [0, 0, 0, 0]])
    steps = Steps(jnp.arange(3), jnp.zeros(3))
    batch = make_batch(
        mask,
        [[2.5, 0.5], [-0.3, 0.5], [0.0, 0.5]],
        channel=channel,
        steps=steps,
        group=jnp.arange(3),
        version=jnp.full((3, 4), 5),
    )
    logp = jnp.log(jnp.array([[0.5, 0.4, 0.8, 0.9], [0.6, 0.7, 0.2, 0.5], [1.0] * 4]))
    batch = dataclasses.replace(batch, old_logp=logp)
    method = Siri(GiGpo(scaled=False, kl_coef=0.0))
    value, gradient = loss_and_gradient(method, batch)
    close(value, 0.05 * 0.082126)
    close(gradient, 0.05 * np.array([[0, 0, -0.25, -0.25], [0] * 4, [0] * 4]))
    closed = dataclasses.replace(batch, rewards=batch.rewards.at[:, 1].set(0.0))
    assert not np.any(loss_and_gradient(method, closed)[1])


def test_gtpo_and_duca_credit_turns_apart():
    turn = jnp.array([[0, 0, 1, 1], [0, 0, 1, -1]])
    batch = make_batch(turn >= 0, [[0.0, 1.0], [1.0, 1.0]], turn=turn)
    found = Gtpo().credit(batch).advantages
    close(found, [[-1, -1, 1, 1], [1, 1, -1, 0]], atol=1e-5)
    sessions = jnp.array([[1.0, 0.0, 2.0], [0.0, 0.0, 2.0]])
    found = Duca().credit(dataclasses.replace(batch, rewards=sessions)).advantages
    close(found, [[0, 0, 2, 2], [-2, -2, 0, 0]], atol=1e-5)
