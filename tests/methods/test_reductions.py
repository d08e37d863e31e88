"""Methods that are another method for some choice of hyperparameters or data."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from jaxrl.methods.dapo import Dapo
from jaxrl.methods.dr_grpo import DrGrpo
from jaxrl.methods.grpo import Grpo
from jaxrl.methods.ppo import Ppo
from jaxrl.methods.rloo import Rloo
from jaxrl.methods.sft import Sft
from jaxrl.types import Scores
from jaxrl.weights import sequence_mean, token_mean
from tests.laws.cases import Case, make_example

close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


@partial(jax.jit, static_argnums=0)
def gradient_of(method, scores, batch, credit):
    return jax.grad(
        lambda logp: (
            method.loss(dataclasses.replace(scores, logp=logp), batch, credit).value
        )
    )(scores.logp)


def test_dapo_with_weights_of_sequences_is_grpo():
    scores, batch = make_example(Case(Grpo()))
    dapo, grpo = Dapo(clip_high=0.2), Grpo()
    credit, expected = dapo.credit(batch), grpo.credit(batch)
    close(credit.advantages, expected.advantages)
    credit = dataclasses.replace(
        credit, weights=sequence_mean(batch.mask, batch.sequence)
    )
    close(
        gradient_of(dapo, scores, batch, credit),
        gradient_of(grpo, scores, batch, expected),
    )


def test_grpo_without_distance_from_the_reference_is_grpo():
    scores, batch = make_example(Case(Grpo(kl_coef=0.1)))
    evidence = dataclasses.replace(batch.evidence, ref_logp=scores.logp)
    batch = dataclasses.replace(batch, evidence=evidence)
    credit = Grpo().credit(batch)
    found, expected = (
        gradient_of(Grpo(kl_coef=c), scores, batch, credit) for c in (0.1, 0.0)
    )
    close(found, expected)


def test_rloo_in_groups_of_equal_size_is_dr_grpo_times_a_constant():
    """n / (n - 1) from the advantages, the length from the weights."""
    _, batch = make_example(Case(Rloo()))
    batch = dataclasses.replace(batch, group=np.arange(8, dtype=np.int32) // 4)
    rloo, dr_grpo = Rloo().credit(batch), DrGrpo(length=12).credit(batch)
    close(rloo.advantages, 4 / 3 * dr_grpo.advantages)
    close(rloo.weights, 12 * dr_grpo.weights)


def test_ppo_without_a_critic_is_reinforce_with_whitened_rewards():
    _, batch = make_example(Case(Ppo()))
    evidence = dataclasses.replace(
        batch.evidence, values=np.zeros_like(batch.evidence.values)
    )
    batch = dataclasses.replace(batch, evidence=evidence)
    credit = Ppo(decay=1.0).credit(batch)
    rewards = np.where(batch.mask, batch.rewards.sum(-1)[batch.sequence], 0)
    tokens = rewards[batch.mask]
    expected = (tokens - tokens.mean()) / tokens.std(ddof=1)
    close(credit.advantages[batch.mask], expected)
    close(credit.returns, rewards)


def test_supervised_gradient_is_that_of_unit_advantages():
    scores, batch = make_example(Case(Sft()))
    close(
        gradient_of(Sft(), scores, batch, Sft().credit(batch)),
        -token_mean(batch.mask),
    )


@pytest.mark.parametrize(
    ("method", "reference"), [(Grpo(), False), (Grpo(kl_coef=0.1), True)]
)
def test_only_a_penalty_needs_a_reference(method, reference):
    assert method.needs.reference is reference


def test_missing_evidence_is_named():
    scores, batch = make_example(Case(Grpo()))
    method = Grpo(kl_coef=0.1)
    with pytest.raises(ValueError, match=r"evidence\.ref_logp is missing"):
        method.loss(Scores(scores.logp), batch, method.credit(batch))
