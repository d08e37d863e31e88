"""The three compiled steps of training: score, credit, update.

Each `make_` function returns a jitted function of arrays; models and methods are bound
when it is made.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxrl.layout import joined, micro_batches
from jaxrl.scoring import Distribution, score
from jaxrl.types import (
    Array,
    Batch,
    Credit,
    Evidence,
    Loss,
    Method,
    Params,
    TrainState,
)
from models.api import LanguageModel

Metrics = dict[str, Array]

ScoreStep = Callable[[Params, Batch], Batch]
CreditStep = Callable[[Batch], Credit]
TrainStep = Callable[[TrainState, Batch, Credit, ArrayLike], tuple[TrainState, Metrics]]


def init_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first update."""
    return TrainState(jnp.int32(0), params, optimizer.init(params))


def make_score_step(
    model: LanguageModel,
    evidence: Callable[[Evidence, Array, Array | None], Evidence],
    *,
    distribution: Distribution,
    entropy: bool = False,
    micro: int = 1,
) -> ScoreStep:
    """A step that adds log-probabilities under frozen parameters to the evidence.

    Args:
      model: The decoder whose parameters the step takes.
      evidence: Where the numbers go, `(evidence, logp, entropy) -> evidence`; see
        `as_reference`, `as_old_entropy`.
      distribution: What tokens are sampled from.
      entropy: Whether to compute the entropy.
      micro: Parts that are scored one after the other, to bound memory.

    Returns:
      `(params, batch) -> batch`, jitted.
    """

    @jax.jit
    def score_step(params: Params, batch: Batch) -> Batch:
        zeros = jnp.zeros(batch.tokens.shape, jnp.float32)
        parts, _ = micro_batches(batch, Credit(zeros, zeros), micro)

        def part(batch: Batch) -> tuple[Array, Array | None]:
            scores = score(
                model, params, batch, distribution=distribution, entropy=entropy
            )
            return scores.logp, scores.entropy

        found = jax.tree.map(partial(joined, batch), jax.lax.map(part, parts))
        return dataclasses.replace(batch, evidence=evidence(batch.evidence, *found))

    return score_step


def as_reference(evidence: Evidence, logp: Array, _: Array | None) -> Evidence:
    """Keep log-probabilities as those of the frozen reference."""
    return dataclasses.replace(evidence, ref_logp=logp)


def as_teacher(evidence: Evidence, logp: Array, _: Array | None) -> Evidence:
    """Keep log-probabilities as those of the teacher."""
    return dataclasses.replace(evidence, teacher_logp=logp)


def as_old_entropy(evidence: Evidence, _: Array, entropy: Array | None) -> Evidence:
    """Keep the entropy of the policy before the update."""
    return dataclasses.replace(evidence, entropy=entropy)


def make_credit_step(method: Method) -> CreditStep:
    """`method.credit`, jitted."""
    return jax.jit(method.credit)


def make_train_step(
    model: LanguageModel,
    method: Method,
    optimizer: optax.GradientTransformation,
    *,
    distribution: Distribution,
    micro: int = 1,
    minibatches: int = 1,
) -> TrainStep:
    """One optimizer update on one minibatch, accumulated over micro-batches.

    Credit weights average over the whole batch, so the sum of the micro-batches' losses
    is the batch's loss, and the result does not depend on their number. A minibatch
    scales its weights by the number of minibatches: their losses average to that loss.

    A step whose loss or gradient is not finite changes nothing and counts as skipped.

    Args:
      model: The decoder.
      method: Gives the loss.
      optimizer: Its update is applied to the parameters.
      distribution: What tokens are sampled from.
      micro: Parts of a minibatch, one after the other, to bound memory.
      minibatches: Updates that a batch is split into.

    Returns:
      `(state, batch, credit, index) -> (state, metrics)`, jitted; `index` int32 [] is
      the minibatch. The state is donated.
    """

    def loss(params: Params, batch: Batch, credit: Credit) -> tuple[Array, Loss]:
        scores = score(
            model,
            params,
            batch,
            distribution=distribution,
            entropy=method.needs.entropy_gradient,
        )
        found = method.loss(scores, batch, credit)
        return found.value, found

    def gradient(params: Params, parts: tuple[Batch, Credit]) -> tuple[Loss, Params]:
        def one(part: tuple[Batch, Credit]) -> tuple[Loss, Params]:
            (_, found), grads = jax.value_and_grad(loss, has_aux=True)(params, *part)
            return found, grads

        first = jax.tree.map(lambda x: x[0], parts)
        if micro == 1:
            return one(first)
        zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(one, first))
        return jax.lax.scan(
            lambda total, part: (jax.tree.map(jnp.add, total, one(part)), None),
            zeros,
            parts,
        )[0]

    @partial(jax.jit, donate_argnums=0)
    def train_step(
        state: TrainState, batch: Batch, credit: Credit, index: Array
    ) -> tuple[TrainState, Metrics]:
        credit = _scaled(credit, minibatches)
        parts = jax.tree.map(
            lambda x: x.reshape(minibatches, micro, *x.shape[1:])[index],
            micro_batches(batch, credit, minibatches * micro),
        )
        found, grads = gradient(state.params, parts)
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(norm) & jnp.isfinite(found.value)
        new = _updated(state, grads, optimizer)
        new = jax.tree.map(partial(jnp.where, finite), new, state)
        means = {name: mean.result() for name, mean in found.metrics.items()}
        skipped = 1.0 - finite.astype(jnp.float32)
        return new, {
            **means,
            "loss": found.value,
            "grad_norm": norm,
            "skipped": skipped,
        }

    return train_step


def _scaled(credit: Credit, factor: int) -> Credit:
    """Credit whose weights, those of a second track included, are `factor` times."""
    second = credit.second
    return dataclasses.replace(
        credit,
        weights=credit.weights * factor,
        second=None if second is None else _scaled(second, factor),
    )


def _updated(
    state: TrainState, grads: Params, optimizer: optax.GradientTransformation
) -> TrainState:
    """The state after one update of the optimizer."""
    # Optax counts steps in integers and multiplies them by Python floats: its code is
    # the only one here that needs implicit promotion.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, opt_state)
