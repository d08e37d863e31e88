"""The loss that most methods share: their credit under the surrogate they choose."""

from jaxrl.losses.policy import SurrogateFunction, policy_gradient
from jaxrl.types import Batch, Credit, Loss, Scores


def surrogate_loss(
    scores: Scores, batch: Batch, credit: Credit, surrogate: SurrogateFunction
) -> Loss:
    """Policy gradient of a method's credit, around the policy that sampled.

    Args:
      scores: What the trained model says.
      batch: The data.
      credit: Its credit and weights.
      surrogate: How far old data is trusted, from `jaxrl.surrogates`, with its
        hyperparameters bound by `functools.partial`.

    Returns:
      The loss.
    """
    return policy_gradient(
        scores.logp,
        batch.old_logp,
        credit.advantages,
        credit.weights,
        surrogate=surrogate,
    )
