"""All methods, one line each; `test_laws.py` runs every law over every line.

To add a method, add a `Case`. Evidence follows from `method.needs`: what a method does
not ask for is not there. A method whose on-policy gradient isn't minus weights times
advantages says what it is; one that reads more than the synthetic batch edits it.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxrl.advantages.scaling import equal_prompts
from jaxrl.divergences.samples import k1, k2, k3
from jaxrl.methods.added_track import AddedTrack
from jaxrl.methods.answers import is_right
from jaxrl.methods.aopd import Aopd
from jaxrl.methods.aspo import Aspo
from jaxrl.methods.bapo import Bapo
from jaxrl.methods.ce_gppo import CeGppo
from jaxrl.methods.cispo import Cispo
from jaxrl.methods.clip_cov import ClipCov
from jaxrl.methods.context_distillation import ContextDistillation
from jaxrl.methods.corrected import Corrected
from jaxrl.methods.dapo import Dapo
from jaxrl.methods.dcpo import Dcpo
from jaxrl.methods.decoupled_ppo import DecoupledPpo
from jaxrl.methods.dgpo import Dgpo
from jaxrl.methods.dr_grpo import DrGrpo
from jaxrl.methods.dual_track import DualTrackGrpo
from jaxrl.methods.duca import Duca
from jaxrl.methods.dynamo import DynaMo
from jaxrl.methods.generalised_opd import GeneralisedOpd
from jaxrl.methods.gigpo import GiGpo
from jaxrl.methods.gkd import Gkd
from jaxrl.methods.gmpo import Gmpo
from jaxrl.methods.gpg import Gpg
from jaxrl.methods.gppo import Gppo
from jaxrl.methods.grpo import Grpo
from jaxrl.methods.gspo import Gspo
from jaxrl.methods.gtpo import Gtpo
from jaxrl.methods.hipif import Hipif
from jaxrl.methods.kl_cov import KlCov
from jaxrl.methods.lite_ppo import LitePpo
from jaxrl.methods.magnified_track import MagnifiedTrack
from jaxrl.methods.maspo import Maspo
from jaxrl.methods.max_rl import MaxRl
from jaxrl.methods.minillm import MiniLlm
from jaxrl.methods.off_policy_context_distillation import OffPolicyContextDistillation
from jaxrl.methods.opd import Opd
from jaxrl.methods.opo import Opo
from jaxrl.methods.pass_at_k import PassAtK
from jaxrl.methods.pgpo import Pgpo
from jaxrl.methods.ppo import Ppo
from jaxrl.methods.reinforce_plus_plus import ReinforcePlusPlus
from jaxrl.methods.reinforce_plus_plus_baseline import ReinforcePlusPlusBaseline
from jaxrl.methods.rloo import Rloo
from jaxrl.methods.sapo import Sapo
from jaxrl.methods.scope import Scope
from jaxrl.methods.scope_paper import ScopePaper
from jaxrl.methods.seq_kd import SeqKd
from jaxrl.methods.sft import Sft
from jaxrl.methods.siri import Siri
from jaxrl.methods.skill1 import Skill1
from jaxrl.methods.topr import Topr
from jaxrl.surrogates.correction import masked_importance
from jaxrl.types import Batch, Credit, Evidence, Method, Scores, Steps, TopK
from tests.laws import agents

# Sequences of one group are compared; the last sequence failed and is alone.
GROUP = np.array([2, 0, 2, 1, 0, 1, 0, 7], np.int32)
S, T, K, C = len(GROUP), 12, 3, 2
PROMPT = np.array([2, 3, 2, 1, 2, 3, 2, 2])
LENGTH = np.array([12, 9, 7, 10, 4, 12, 8, 6])


class Example(NamedTuple):
    """Scores of a batch, and the batch with its evidence; NumPy arrays."""

    scores: Scores
    batch: Batch


def policy_gradient_at_ratio_one(example: Example, credit: Credit):
    """What every surrogate has in common: slope 1."""
    return -credit.weights * credit.advantages


def likelihood_gradient(example: Example, credit: Credit):
    return -credit.weights


def no_gradient(example: Example, credit: Credit):
    """The loss reads the distribution alone, not the sampled token."""
    return np.zeros_like(credit.weights)


def likelihood_of_right_answers(example: Example, credit: Credit):
    credited = np.where(is_right(example.batch), 1.0, credit.advantages)
    return -credit.weights * credited


def with_k1(coef):
    """k1 pulls everywhere, also where the policy is the reference."""

    def gradient(example, credit):
        return policy_gradient_at_ratio_one(example, credit) + coef * credit.weights

    return gradient


def with_distance(coef):
    """Some tokens, those of the second track, are held to the old policy."""

    def gradient(example, credit):
        away = np.sign(example.scores.logp - example.batch.old_logp)
        policy = policy_gradient_at_ratio_one(example, credit)
        return policy + coef * credit.second.weights * away

    return gradient


def as_it_is(example: Example) -> Example:
    return example


def with_rewards(example: Example, rewards) -> Example:
    batch = dataclasses.replace(example.batch, rewards=rewards)
    return Example(example.scores, batch)


def solved_or_not(example: Example) -> Example:
    """Rewards of 0 and 1."""
    return with_rewards(example, (example.batch.rewards > 0).astype(np.float32))


def three_rewards(example: Example) -> Example:
    """A third reward, that of the process."""
    rewards = example.batch.rewards
    return with_rewards(example, np.concatenate([rewards, rewards[:, :1] ** 2], 1))


@dataclasses.dataclass(frozen=True)
class Case:
    """One method under the laws.

    Attributes:
      method: The instance.
      gradient: `(example, credit) -> [N, T]`, the gradient by `scores.logp` where the
        policy is also the old policy and the reference.
      edit: Adds to the synthetic example what this method reads.
    """

    method: Method
    gradient: Callable = policy_gradient_at_ratio_one
    edit: Callable[[Example], Example] = as_it_is


CASES = {
    "grpo": Case(Grpo()),
    "grpo_k1": Case(Grpo(kl_coef=0.1, kl_estimator=k1), gradient=with_k1(0.1)),
    "grpo_k2": Case(Grpo(kl_coef=0.1, kl_estimator=k2)),
    "grpo_k3": Case(Grpo(kl_coef=0.1, kl_estimator=k3)),
    "dapo": Case(Dapo()),
    "dr_grpo": Case(DrGrpo(length=T)),
    "rloo": Case(Rloo()),
    "ppo": Case(Ppo()),
    "sft": Case(Sft(), gradient=likelihood_gradient),
    "reinforce_plus_plus": Case(ReinforcePlusPlus(kl_coef=0.1, discount=0.9)),
    "reinforce_plus_plus_baseline": Case(ReinforcePlusPlusBaseline(kl_coef=0.1)),
    "opo": Case(Opo()),
    "max_rl": Case(MaxRl(), edit=solved_or_not),
    "pass_at_k": Case(PassAtK(k=2)),
    "gpg": Case(Gpg()),
    "lite_ppo": Case(LitePpo()),
    "dynamo": Case(DynaMo(prompt_share=equal_prompts)),
    "pgpo": Case(Pgpo(), edit=three_rewards),
    "gigpo": Case(GiGpo()),
    "gigpo_turns": Case(GiGpo(scaled=False, kl_coef=0.0), edit=agents.several_steps),
    "gigpo_trajectories": Case(
        GiGpo(episodes_alike=True), edit=agents.shared_trajectories
    ),
    "dual_track": Case(DualTrackGrpo(), gradient=agents.two_tracks),
    "added_track": Case(AddedTrack()),
    "magnified_track": Case(MagnifiedTrack()),
    "duca": Case(Duca(), edit=agents.session_and_turns),
    "gtpo": Case(Gtpo()),
    "hipif": Case(Hipif()),
    "skill1": Case(Skill1(), gradient=agents.two_tracks, edit=agents.three_decisions),
    "siri": Case(Siri(), gradient=agents.two_tracks, edit=agents.guided),
    "gspo": Case(Gspo()),
    "gmpo": Case(Gmpo()),
    "cispo": Case(Cispo()),
    "gppo": Case(Gppo()),
    "ce_gppo": Case(CeGppo()),
    "dgpo": Case(Dgpo()),
    "maspo": Case(Maspo()),
    "sapo": Case(Sapo()),
    "aspo": Case(Aspo()),
    "dcpo": Case(Dcpo()),
    "bapo": Case(Bapo()),
    "topr": Case(Topr()),
    "clip_cov": Case(ClipCov(share=0.1, cov_low=0.1)),
    "kl_cov": Case(KlCov(share=0.1), gradient=with_distance(1.0)),
    "decoupled_ppo": Case(DecoupledPpo()),
    "corrected_grpo": Case(Corrected(Grpo(kl_coef=0.1))),
    "corrected_dual_track": Case(
        Corrected(DualTrackGrpo(), masked_importance), gradient=agents.two_tracks
    ),
    "opd": Case(Opd(discount=0.5)),
    "generalised_opd": Case(GeneralisedOpd()),
    "aopd": Case(Aopd(top_k=K)),
    "scope": Case(Scope(), gradient=likelihood_of_right_answers),
    "scope_paper": Case(ScopePaper()),
    "gkd": Case(Gkd(top_k=K), gradient=no_gradient),
    "minillm": Case(MiniLlm(top_k=K)),
    "context_distillation": Case(ContextDistillation()),
    "off_policy_context_distillation": Case(
        OffPolicyContextDistillation(top_k=K), gradient=no_gradient
    ),
    "seq_kd": Case(SeqKd(threshold=0.0), gradient=likelihood_gradient),
}


def make_example(case: Case, seed: int = 0) -> Example:
    """A ragged batch of one sequence per row, with a tool's output in its middle.

    Sequences have different lengths, their groups are ragged and shuffled, and the last
    one failed: it has tokens but an empty mask, and a group of its own.
    """
    rng = np.random.default_rng(seed)
    place = np.arange(T)[None, :]
    valid = place < LENGTH[:, None]
    tool = (place == 5) | (place == 6)
    mask = valid & (place >= PROMPT[:, None]) & ~tool
    mask[-1] = False
    rewards = rng.normal(size=(S, C)).astype(np.float32)
    rewards[-1] = 0.0
    batch = Batch(
        tokens=rng.integers(0, 50, (S, T)).astype(np.int32),
        sequence=np.where(valid, np.arange(S)[:, None], -1).astype(np.int32),
        mask=mask,
        turn=np.where(mask, place > 6, -1).astype(np.int32),
        channel=(place % C * np.ones((S, 1))).astype(np.int32),
        old_logp=_logp(rng),
        rewards=rewards,
        group=GROUP,
        version=np.zeros((S, T), np.int32),
        steps=Steps(
            anchor=rng.integers(0, 3, S).astype(np.int32),
            returns=rng.normal(size=S).astype(np.float32),
        ),
    )
    return with_evidence(case, batch, rng)


def with_evidence(case: Case, batch: Batch, rng) -> Example:
    """The batch with what the method asks for, and scores near the old policy."""
    needs = case.method.needs
    batch = dataclasses.replace(batch, evidence=_evidence(case.method, rng))
    scores = Scores(
        logp=(batch.old_logp + rng.normal(0.0, 0.3, (S, T))).astype(np.float32),
        entropy=-_logp(rng) if needs.entropy_gradient else None,
        values=_logp(rng) if needs.values else None,
        top_logp=_top(rng, needs.top_k).logp if needs.top_k else None,
    )
    return case.edit(Example(scores, batch))


def _evidence(method: Method, rng) -> Evidence:
    """Exactly what the method asks for."""
    needs = method.needs
    return Evidence(
        entropy=-_logp(rng) if needs.entropy else None,
        ref_logp=_logp(rng) if needs.reference else None,
        teacher_logp=_logp(rng) if needs.teacher else None,
        teacher_top=_top(rng, needs.top_k) if needs.top_k else None,
        other_logp=_logp(rng) if needs.other_context else None,
        values=_logp(rng) if needs.values else None,
        proximal_logp=_logp(rng) if needs.proximal else None,
    )


def _logp(rng):
    return -rng.exponential(1.0, (S, T)).astype(np.float32) - np.float32(0.01)


def _top(rng, k) -> TopK:
    """Distinct ids, in falling order, with some mass left for the rest."""
    logits = -np.sort(-rng.normal(size=(S, T, k)), axis=-1)
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True)) - 0.2
    ids = np.broadcast_to(np.arange(k), (S, T, k))
    return TopK(ids.astype(np.int32), logp.astype(np.float32), np.ones_like(ids, bool))
