"""The loss of methods that clip: clipped policy gradient, and a KL penalty."""

from functools import partial

from jaxrl.divergences.samples import k3
from jaxrl.losses.penalty import Estimator, kl_penalty
from jaxrl.methods.evidence import required
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.clipping import clipped
from jaxrl.types import Batch, Credit, Loss, Scores


def clipped_loss(
    scores: Scores,
    batch: Batch,
    credit: Credit,
    *,
    clip_low: float,
    clip_high: float,
    kl_coef: float = 0.0,
    kl_estimator: Estimator = k3,
) -> Loss:
    """Clipped policy gradient, plus `kl_coef` times the KL to the reference.

    Args:
      scores: What the trained model says.
      batch: The data.
      credit: Its credit and weights.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      kl_coef: Coefficient of the KL penalty; 0 needs no reference.
      kl_estimator: Which estimate of the KL, from `jaxrl.divergences.samples`.

    Returns:
      The loss.
    """
    surrogate = partial(clipped, low=clip_low, high=clip_high)
    loss = surrogate_loss(scores, batch, credit, surrogate)
    if kl_coef == 0:
        return loss
    ref_logp = required(batch.evidence.ref_logp, "evidence.ref_logp")
    return loss + kl_coef * kl_penalty(
        scores.logp, ref_logp, credit.weights, estimator=kl_estimator
    )
