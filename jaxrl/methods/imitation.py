"""The loss that methods share which imitate a teacher's distribution."""

from jaxrl.divergences.top_k import as_given
from jaxrl.losses.distillation import Closure, Divergence, divergence_loss
from jaxrl.methods.evidence import required
from jaxrl.types import Array, Batch, Loss, Scores


def imitation_loss(
    scores: Scores,
    batch: Batch,
    weights: Array,
    *,
    divergence: Divergence,
    closure: Closure = as_given,
) -> Loss:
    """Divergence from the teacher's likeliest tokens.

    Args:
      scores: What the trained model says; `top_logp` carries the gradient.
      batch: The data; its evidence holds `teacher_top`.
      weights: float [N, T]. From `jaxrl.weights`.
      divergence: From `jaxrl.divergences.top_k`.
      closure: What becomes of the mass outside of the top k.

    Returns:
      The loss.
    """
    return divergence_loss(
        required(scores.top_logp, "scores.top_logp"),
        required(batch.evidence.teacher_top, "evidence.teacher_top"),
        weights,
        divergence=divergence,
        closure=closure,
    )
