"""Learning from pairs: the chosen answer against the rejected one.

A pair loss takes log-ratios, `log p(y|x) - log p_ref(y|x)` of a whole answer, and says
how it is pulled. What "log p of a whole answer" is, is a separate choice: a sum over
tokens, a mean, or an ELBO. More pair losses are in `preference_variants`.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxrl.masking import masked_mean, masked_sum, safe_divide
from jaxrl.types import Array, Loss, Mean

PairLoss = Callable[[Array, Array], Array]
"""`(chosen, rejected) -> [N]`, of log-ratios to the reference."""
SequenceScore = Callable[[Array, Array, Array], Array]
"""`(logp, mask, other_mask) -> [N]`; the masks are of this side and of the other."""


def preference(
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    weights: Array,
    *,
    pair_loss: PairLoss,
) -> Loss:
    """Average a pair loss, `sum(w * f(chosen - ref_chosen, rejected - ref_rejected))`.

    The gradient flows through `chosen` and `rejected`.

    Args:
      chosen: float [N]. Score of the chosen answers under the trained model.
      rejected: float [N]. Of the rejected ones.
      ref_chosen: float [N]. Score of the chosen answers under the reference; constant.
      ref_rejected: float [N]. Of the rejected ones; constant.
      weights: float [N]. Share of each pair in the average; 0 is not trained.
      pair_loss: `logistic`, `hinge`, ...

    Returns:
      The loss. Metrics are means over the trained pairs: `margin` (chosen minus
      rejected log-ratio, nats), `accuracy` (margin above 0) and `chosen_ratio` (the
      chosen log-ratio, nats; it falls where both answers become less likely).

    >>> x, one = jnp.zeros(1), jnp.ones(1)
    >>> float(preference(one, x, x, x, one, pair_loss=ipo).value)
    16.0
    """
    chex.assert_equal_shape([chosen, rejected, ref_chosen, ref_rejected, weights])
    live = weights != 0
    chosen, rejected, ref_chosen, ref_rejected = (
        jnp.where(live, x, 0.0) for x in (chosen, rejected, ref_chosen, ref_rejected)
    )
    good, bad = chosen - ref_chosen, rejected - ref_rejected
    count = jnp.sum(jnp.asarray(live, weights.dtype))
    pairwise = {
        "margin": good - bad,
        "accuracy": jnp.asarray(good > bad, weights.dtype),
        "chosen_ratio": good,
    }
    metrics = {name: Mean(masked_sum(x, live), count) for name, x in pairwise.items()}
    return Loss(masked_sum(weights * pair_loss(good, bad), live), metrics)


def pair_mean(chosen_mask: Array, rejected_mask: Array) -> Array:
    """Weigh pairs alike: `1 / number of pairs`.

    Args:
      chosen_mask: bool [N, T]. Tokens of the chosen answers.
      rejected_mask: bool [N, U]. Of the rejected ones.

    Returns:
      float [N]. 0 for a pair without any token; sums to 1, or to 0 if there is none.

    >>> pair_mean(jnp.array([[True], [False]]), jnp.array([[False], [False]])).tolist()
    [1.0, 0.0]
    """
    live = jnp.any(chosen_mask, axis=1) | jnp.any(rejected_mask, axis=1)
    live = jnp.asarray(live, float)
    return safe_divide(live, jnp.sum(live))


def summed(logp: Array, mask: Array, other_mask: Array) -> Array:
    """Score an answer by its log-probability: the sum over its tokens.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t].
      mask: bool [N, T]. Tokens of the answer.
      other_mask: bool [N, U]. Of the other answer; not looked at.

    Returns:
      float [N], nats. 0 for an empty answer.

    >>> summed(jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]]), None).tolist()
    [-3.0]
    """
    del other_mask
    return masked_sum(logp, mask, axis=1)


def averaged(logp: Array, mask: Array, other_mask: Array) -> Array:
    """Score an answer by its mean log-probability per token.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t].
      mask: bool [N, T]. Tokens of the answer.
      other_mask: bool [N, U]. Of the other answer; not looked at.

    Returns:
      float [N], nats per token. 0 for an empty answer.

    Reference: SelSkill, arXiv:2606.00510; SimPO's length normalisation.

    >>> averaged(jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]]), None).tolist()
    [-1.5]
    """
    del other_mask
    return masked_mean(logp, mask, axis=1)


def length_desensitised(
    logp: Array, mask: Array, other_mask: Array, *, share: float = 0.5
) -> Array:
    """Sum log-probabilities, but count less what goes beyond the shorter answer.

    Args:
      logp: float [N, T]. Log-probability of tokens[n, t].
      mask: bool [N, T]. Tokens of the answer.
      other_mask: bool [N, U]. Tokens of the answer it is compared with.
      share: Weight of tokens beyond the length of the shorter answer; alpha. 1 is
        `summed`.

    Returns:
      float [N], nats. 0 for an empty answer.

    Reference: Liu et al., 2024, Length Desensitization in Direct Preference
    Optimization (LD-DPO), arXiv:2409.06411.

    >>> mask = jnp.array([[True, True]])
    >>> length_desensitised(jnp.full((1, 2), -2.0), mask, mask[:, :1]).tolist()
    [-3.0]
    """
    place = jnp.cumsum(jnp.asarray(mask, jnp.int32), axis=1)
    common = jnp.sum(jnp.asarray(other_mask, jnp.int32), axis=1, keepdims=True)
    weights = jnp.asarray(jnp.where(place <= common, 1.0, share), logp.dtype)
    return masked_sum(weights * jnp.where(mask, logp, 0.0), mask, axis=1)


def logistic(
    chosen: Array, rejected: Array, *, beta: float = 0.1, smoothing: float = 0.0
) -> Array:
    """DPO: `-log sigmoid(u)` with `u = beta (chosen - rejected)`.

    With label smoothing e, `-(1 - e) log sigmoid(u) - e log sigmoid(-u)`. At the
    reference it is `log 2`; its derivative by u is `-sigmoid(-u)`.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: Small values let the policy go far from the reference.
      smoothing: Share of labels that are taken for wrong; epsilon.

    Returns:
      float [N].

    Reference: Rafailov et al., 2023, Direct Preference Optimization, equation 7,
    arXiv:2305.18290; label smoothing as in cDPO (Mitchell, 2023).

    >>> print(logistic(jnp.zeros(1), jnp.zeros(1)).round(3))
    [0.693]
    """
    u = beta * (chosen - rejected)
    right, wrong = jax.nn.log_sigmoid(u), jax.nn.log_sigmoid(-u)
    return -(1.0 - smoothing) * right - smoothing * wrong


def hinge(chosen: Array, rejected: Array, *, beta: float = 0.1) -> Array:
    """SLiC's hinge: `max(0, 1 - beta (chosen - rejected))`.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: 1 / beta nats of margin are enough.

    Returns:
      float [N].

    Reference: Zhao et al., 2023, SLiC-HF, arXiv:2305.10425.

    >>> hinge(jnp.ones(1), jnp.zeros(1), beta=0.5).tolist()
    [0.5]
    """
    return jax.nn.relu(1.0 - beta * (chosen - rejected))


def ipo(chosen: Array, rejected: Array, *, beta: float = 0.1) -> Array:
    """IPO: `(chosen - rejected - 1 / (2 beta))^2`, a margin to reach and not to pass.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: The margin is 1 / (2 beta) nats; the paper's tau.

    Returns:
      float [N].

    Reference: Azar et al., 2023, A General Theoretical Paradigm to Understand Learning
    from Human Preferences, equation 17, arXiv:2310.12036. The paper's scores are
    `summed`; TRL takes them `averaged`.

    >>> ipo(jnp.ones(1), jnp.zeros(1), beta=0.5).tolist()
    [0.0]
    """
    return (chosen - rejected - 0.5 / beta) ** 2
