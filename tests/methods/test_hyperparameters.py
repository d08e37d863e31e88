"""Hyperparameters do something, and what their names say."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.losses.policy import policy_gradient
from jaxrl.methods.added_track import AddedTrack
from jaxrl.methods.aopd import Aopd
from jaxrl.methods.aspo import Aspo
from jaxrl.methods.ce_gppo import CeGppo
from jaxrl.methods.cispo import Cispo
from jaxrl.methods.clip_cov import ClipCov
from jaxrl.methods.dapo import Dapo
from jaxrl.methods.dcpo import Dcpo
from jaxrl.methods.dgpo import Dgpo
from jaxrl.methods.dr_grpo import DrGrpo
from jaxrl.methods.duca import Duca
from jaxrl.methods.dynamo import DynaMo
from jaxrl.methods.gigpo import GiGpo
from jaxrl.methods.gkd import Gkd
from jaxrl.methods.gmpo import Gmpo
from jaxrl.methods.gppo import Gppo
from jaxrl.methods.grpo import Grpo
from jaxrl.methods.gspo import Gspo
from jaxrl.methods.gtpo import Gtpo
from jaxrl.methods.hipif import Hipif
from jaxrl.methods.lite_ppo import LitePpo
from jaxrl.methods.magnified_track import MagnifiedTrack
from jaxrl.methods.maspo import Maspo
from jaxrl.methods.max_rl import MaxRl
from jaxrl.methods.minillm import MiniLlm
from jaxrl.methods.off_policy_context_distillation import OffPolicyContextDistillation
from jaxrl.methods.pass_at_k import PassAtK
from jaxrl.methods.reinforce_plus_plus import ReinforcePlusPlus
from jaxrl.methods.rloo import Rloo
from jaxrl.methods.sapo import Sapo
from jaxrl.surrogates.bounds import dcpo
from jaxrl.surrogates.clipping import cispo, clipped, dual_clipped
from jaxrl.surrogates.decay import ce_gppo, dgpo, gppo
from jaxrl.surrogates.flipped import aspo
from jaxrl.surrogates.gates import maspo, sapo
from jaxrl.surrogates.sequence import gmpo, gspo
from tests.laws.cases import CASES, Case, Example, make_example

CLIP = {"clip_low": 0.1, "clip_high": 0.4}
BOUNDS = {"low": 0.1, "high": 0.4}
WIDTHS = {"width": 0.5, "mass_power": 0.4, "widest": 2.0}
GAINS = {"positive_gain": 0.1, "negative_gain": 0.3}
SCALES = {"left_scale": 0.5, "right_scale": 0.8, "cap": 2.0}
TEMPERATURES = {"positive_temperature": 0.5, "negative_temperature": 2.0}
# Whoever has no sequence of its own takes each row for one, as `make_example` does.
SURROGATES = [
    (Aspo(**CLIP, cap=2.0), partial(aspo, **BOUNDS, cap=2.0)),
    (CeGppo(**CLIP, **SCALES), partial(ce_gppo, **BOUNDS, **SCALES)),
    (Gppo(**CLIP, cap=2.0), partial(gppo, **BOUNDS, cap=2.0)),
    (Cispo(lower=0.5, upper=1.5), partial(cispo, lower=0.5, upper=1.5)),
    (Dcpo(**CLIP, widest=3.0, cap=2.0), partial(dcpo, **BOUNDS, widest=3.0, cap=2.0)),
    (
        Dgpo(**CLIP, left_order=2, right_order=3),
        partial(dgpo, **BOUNDS, left_order=2, right_order=3),
    ),
    (DynaMo(**CLIP, cap=2.0), partial(dual_clipped, **BOUNDS, cap=2.0)),
    (Gmpo(**CLIP), partial(gmpo, **BOUNDS)),
    (Gspo(**CLIP), partial(gspo, **BOUNDS)),
    (Maspo(**WIDTHS, **GAINS), partial(maspo, **WIDTHS, **GAINS)),
    (Sapo(**TEMPERATURES), partial(sapo, **TEMPERATURES)),
    *(
        (method, partial(clipped, **BOUNDS))
        for method in (
            AddedTrack(**CLIP),
            ClipCov(**CLIP),
            Dapo(**CLIP),
            DrGrpo(length=9, **CLIP),
            Duca(**CLIP, kl_coef=0.0),
            GiGpo(**CLIP, kl_coef=0.0),
            Grpo(**CLIP),
            Gtpo(**CLIP),
            Hipif(**CLIP, kl_coef=0.0),
            LitePpo(**CLIP),
            MagnifiedTrack(**CLIP),
            MaxRl(**CLIP),
            PassAtK(**CLIP, k=2),
            ReinforcePlusPlus(**CLIP),
            Rloo(**CLIP),
        )
    ),
]


def wide_example(case):
    """Far from the policy that sampled, so that every bound is reached."""
    example = jax.tree.map(jnp.asarray, make_example(case))
    old_logp = example.batch.old_logp
    away = 1.5 * np.random.default_rng(3).normal(size=old_logp.shape)
    logp = jnp.asarray(old_logp + away, jnp.float32)
    return Example(dataclasses.replace(example.scores, logp=logp), example.batch)


def loss_and_gradient(loss_of, scores):
    """Of the log-probabilities of tokens."""
    return jax.value_and_grad(
        lambda logp: loss_of(dataclasses.replace(scores, logp=logp)).value
    )(scores.logp)


@pytest.mark.parametrize(
    ("method", "surrogate"),
    SURROGATES,
    ids=[type(method).__name__ for method, _ in SURROGATES],
)
def test_hyperparameters_reach_the_surrogate(method, surrogate):
    scores, batch = wide_example(Case(method))
    credit = method.credit(batch)

    def expected_loss(scores):
        return policy_gradient(
            scores.logp,
            batch.old_logp,
            credit.advantages,
            credit.weights,
            surrogate=surrogate,
        )

    found = loss_and_gradient(lambda x: method.loss(x, batch, credit), scores)
    expected = loss_and_gradient(expected_loss, scores)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), found, expected)


@pytest.mark.parametrize("method", [Aopd, Gkd, MiniLlm, OffPolicyContextDistillation])
def test_as_many_tokens_are_scored_as_asked_for(method):
    assert method(top_k=5).needs.top_k == 5


def test_whose_tokens_are_scored_is_a_choice():
    assert Gkd(student_top=True).needs.student_top
    assert not Gkd().needs.student_top


# Whitening takes out a constant factor; the others say what to score.
WITHOUT_EFFECT = {"reward_scale", "top_k", "student_top"}
# Where a value near the one of the case is as far from the batch as that.
REACHED = {
    "limit": 0.5,
    "widest": 1.2,
    "cov_low": 2.0,
    "cov_high": 0.2,
    "target": 1e-3,
    "threshold": 2.0,
}


def numbers_of(name, method):
    """Names of the numbers; without a coefficient of 0, whose evidence isn't there."""
    values = {f.name: getattr(method, f.name) for f in dataclasses.fields(method)}
    if name == "gigpo":  # Its trajectories are of one sequence each.
        del values["episodes_alike"]
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float)
        and name not in WITHOUT_EFFECT
        and not (name == "kl_coef" and value == 0)
    }


def another(name, value):
    if name in REACHED:
        return REACHED[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return 1.5 * value + 0.1 if math.isfinite(value) else 1.5


def everything(method, example):
    """What may depend on a hyperparameter."""
    scores, batch = example
    credit = method.credit(batch)
    return credit, *loss_and_gradient(lambda x: method.loss(x, batch, credit), scores)


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_a_method_has_an_effect(name):
    case = CASES[name]
    example = wide_example(case)
    plain = jax.tree.leaves(everything(case.method, example))
    for field, value in numbers_of(name, case.method).items():
        changed = {field: another(field, value)}
        method = dataclasses.replace(case.method, **changed)
        changed = jax.tree.leaves(everything(method, example))
        assert any(
            np.abs(x - y).max() > 1e-6 for x, y in zip(plain, changed, strict=True)
        ), field
