"""What a method over preference pairs is: `types.Method`, with two sides of each."""

import dataclasses
from typing import Protocol, runtime_checkable

import jax

from jaxrl.losses.preference import PairLoss, SequenceScore, pair_mean, preference
from jaxrl.methods.credit import no_credit
from jaxrl.methods.evidence import required
from jaxrl.types import Credit, Loss, Needs, Pairs, Scores


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PairScores:
    """What the trained model says about both sides of each pair; carries gradient."""

    chosen: Scores
    rejected: Scores


@runtime_checkable
class PairMethod(Protocol):
    """A preference method. One sequence per row; row i of both sides is pair i.

    `credit.weights` is float [N], the share of each pair, so a micro-batch is the same
    rows of `chosen`, `rejected` and `credit`.
    """

    @property
    def needs(self) -> Needs:
        """What the scoring steps must compute, for both sides."""
        ...

    def credit(self, pairs: Pairs) -> Credit:
        """The share of each pair of the whole batch."""
        ...

    def loss(self, scores: PairScores, pairs: Pairs, credit: Credit) -> Loss:
        """Loss of one micro-batch of pairs."""
        ...


def pair_credit(pairs: Pairs) -> Credit:
    """Weigh pairs alike; a pair without tokens, such as a failed one, weighs 0.

    Args:
      pairs: N pairs.

    Returns:
      Credit with `weights` float [N]; advantages are 0.
    """
    return no_credit(pair_mean(pairs.chosen.mask, pairs.rejected.mask))


def pair_preference(
    scores: PairScores,
    pairs: Pairs,
    credit: Credit,
    *,
    score: SequenceScore,
    pair_loss: PairLoss,
) -> Loss:
    """Score both sides under the trained model and the reference, and compare.

    Args:
      scores: Of the trained model.
      pairs: Their evidence holds the reference's log-probabilities.
      credit: Share of each pair.
      score: From tokens to answers, `losses.preference.summed` or `averaged`.
      pair_loss: From `losses.preference`.

    Returns:
      The loss.
    """
    sides = (pairs.chosen, pairs.rejected)
    good, bad = (side.mask for side in sides)
    ref_good, ref_bad = (
        required(side.evidence.ref_logp, "evidence.ref_logp") for side in sides
    )
    return preference(
        score(scores.chosen.logp, good, bad),
        score(scores.rejected.logp, bad, good),
        score(ref_good, good, bad),
        score(ref_bad, bad, good),
        credit.weights,
        pair_loss=pair_loss,
    )
