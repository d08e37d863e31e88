"""Signal-calibrated on-policy distillation."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp

from jaxrl.advantages.groups import spread
from jaxrl.advantages.routing import (
    boundary_shares,
    class_sizes,
    recoverable_shares,
    sequence_sums,
)
from jaxrl.advantages.teacher import teacher_log_ratio
from jaxrl.losses.policy import SurrogateFunction, policy_gradient
from jaxrl.losses.supervised import nll
from jaxrl.masking import safe_divide
from jaxrl.methods.evidence import required
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.clipping import dual_clipped, importance
from jaxrl.types import Array, Batch, Credit, Loss, Needs, Scores


@dataclasses.dataclass(frozen=True)
class Scope:
    """SCOPE as released: imitate right answers, let the teacher correct wrong ones.

    An answer is right if its reward is above 0. Right answers are weighted towards
    those that surprise the student, wrong ones towards those that the teacher finds
    likely, each class within its prompt, with mean weight 1. The right path is averaged
    over the tokens of right answers, the wrong one over all tokens. Reference: SCOPE,
    arXiv:2604.10688.

    Differs from the release: its flags reverse the student's weights; these follow
    equation 4. Answers without tokens share no weight.

    Attributes:
      temperature: Large values weigh all answers alike; tau.
      surrogate: How far old data is trusted on wrong answers.
    """

    temperature: float = 1.0
    surrogate: SurrogateFunction = dual_clipped

    needs = Needs(teacher=True)

    def credit(self, batch: Batch) -> Credit:
        """Unit credit on right answers, the teacher's log-ratio on wrong ones."""
        paths, number = _paths(batch, self.temperature), len(batch.group)
        right = paths.right_share * class_sizes(
            paths.right, batch.group, num_groups=number
        )
        wrong = paths.wrong_share * class_sizes(
            paths.wrong, batch.group, num_groups=number
        )
        of_right = jnp.sum(jnp.where(paths.right, paths.length, 0.0))
        weights = safe_divide(right, of_right)
        weights += safe_divide(wrong, jnp.sum(paths.length))
        return _credit(batch, paths, weights)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Policy gradient on wrong answers, likelihood of right ones."""
        right = is_right(batch)
        policy = policy_gradient(
            scores.logp,
            batch.old_logp,
            credit.advantages,
            jnp.where(right, 0.0, credit.weights),
            surrogate=self.surrogate,
        )
        return policy + nll(scores.logp, jnp.where(right, credit.weights, 0.0))


@dataclasses.dataclass(frozen=True)
class ScopePaper:
    """SCOPE as in the paper: weights of a class add up to 1, tokens are summed.

    Both paths are importance sampled and not clipped: `-rho` on right answers,
    `-rho (log p_T - log p_old)` on wrong ones, summed over tokens, averaged over
    prompts. Reference: SCOPE, equations 2 to 6, arXiv:2604.10688. Differs from the
    paper: the log-ratio is that of the policy that sampled, equal at the first update.

    Attributes:
      temperature: Large values weigh all answers alike; tau.
    """

    temperature: float = 1.0

    needs = Needs(teacher=True)

    def credit(self, batch: Batch) -> Credit:
        """Unit credit on right answers, the teacher's log-ratio on wrong ones."""
        paths, number = _paths(batch, self.temperature), len(batch.group)
        live = paths.right | paths.wrong
        members = class_sizes(live, batch.group, num_groups=number)
        prompts = jnp.sum(safe_divide(jnp.asarray(live, float), members))
        weights = safe_divide(paths.right_share + paths.wrong_share, prompts)
        return _credit(batch, paths, weights)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Importance-sampled policy gradient on both paths."""
        return surrogate_loss(scores, batch, credit, importance)


class _Paths(NamedTuple):
    """Which way each sequence goes, and its share of its class; [S]."""

    right: Array
    wrong: Array
    right_share: Array
    wrong_share: Array
    length: Array


def is_right(batch: Batch) -> Array:
    """Tell which trained tokens belong to a rewarded sequence, bool [N, T]."""
    right = jnp.asarray(batch.rewards.sum(-1) > 0, float)
    return spread(right, batch.sequence, batch.mask) > 0


def _paths(batch: Batch, temperature: float) -> _Paths:
    teacher_logp = required(batch.evidence.teacher_logp, "evidence.teacher_logp")
    sequence, mask, number = batch.sequence, batch.mask, len(batch.group)
    length, old, teacher = (
        sequence_sums(jnp.where(mask, x, 0.0), sequence, mask, num_sequences=number)
        for x in (jnp.ones_like(batch.old_logp), batch.old_logp, teacher_logp)
    )
    right = (batch.rewards.sum(-1) > 0) & (length > 0)
    wrong = (batch.rewards.sum(-1) <= 0) & (length > 0)
    right_share = boundary_shares(
        safe_divide(old, length),
        right,
        batch.group,
        num_groups=number,
        temperature=temperature,
    )
    wrong_share = recoverable_shares(
        safe_divide(teacher, length),
        wrong,
        batch.group,
        num_groups=number,
        temperature=temperature,
    )
    return _Paths(right, wrong, right_share, wrong_share, length)


def _credit(batch: Batch, paths: _Paths, weights: Array) -> Credit:
    """Credit of the tokens from the weights of their sequences."""
    teacher_logp = required(batch.evidence.teacher_logp, "evidence.teacher_logp")
    ratio = teacher_log_ratio(batch.old_logp, teacher_logp, batch.mask)
    advantages = jnp.where(is_right(batch), 1.0, ratio)
    return Credit(advantages, spread(weights, batch.sequence, batch.mask))
