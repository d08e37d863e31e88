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
from jaxrl.methods.dapo import Dapo
from jaxrl.methods.dr_grpo import DrGrpo
from jaxrl.methods.dynamo import DynaMo
from jaxrl.methods.gpg import Gpg
from jaxrl.methods.grpo import Grpo
from jaxrl.methods.lite_ppo import LitePpo
from jaxrl.methods.max_rl import MaxRl
from jaxrl.methods.opo import Opo
from jaxrl.methods.pass_at_k import PassAtK
from jaxrl.methods.pgpo import Pgpo
from jaxrl.methods.ppo import Ppo
from jaxrl.methods.reinforce_plus_plus import ReinforcePlusPlus
from jaxrl.methods.reinforce_plus_plus_baseline import ReinforcePlusPlusBaseline
from jaxrl.methods.rloo import Rloo
from jaxrl.methods.sft import Sft
from jaxrl.types import Batch, Credit, Evidence, Method, Scores, Steps, TopK

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


def with_k1(coef):
    """k1 pulls everywhere, also where the policy is the reference."""

    def gradient(example, credit):
        return policy_gradient_at_ratio_one(example, credit) + coef * credit.weights

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
        version=np.zeros(S, np.int32),
        steps=Steps(
            anchor=rng.integers(0, 3, S).astype(np.int32),
            returns=rng.normal(size=S).astype(np.float32),
        ),
        evidence=_evidence(case.method, rng),
    )
    needs = case.method.needs
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
    )


def _logp(rng):
    return -rng.exponential(1.0, (S, T)).astype(np.float32) - np.float32(0.01)


def _top(rng, k) -> TopK:
    """Distinct ids, in falling order, with some mass left for the rest."""
    logits = -np.sort(-rng.normal(size=(S, T, k)), axis=-1)
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True)) - 0.2
    ids = np.broadcast_to(np.arange(k), (S, T, k))
    return TopK(ids.astype(np.int32), logp.astype(np.float32), np.ones_like(ids, bool))
