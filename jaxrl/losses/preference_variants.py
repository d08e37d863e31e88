"""More pair losses: DPO's relatives, and transforms of the log-ratio.

`c` and `j` are the log-ratios of chosen and rejected answers to the reference, `b` is
beta. Each is a `preference.PairLoss` but for AOT, which compares across pairs.
"""

import math

import jax
import jax.numpy as jnp

from jaxrl.losses.preference import logistic
from jaxrl.types import Array

LARGEST_LOG_RATIO = 60.0
"""Keeps exponentials of whole answers finite; there is no gradient beyond it."""


def robust(
    chosen: Array, rejected: Array, *, beta: float = 0.1, flipped: float = 0.1
) -> Array:
    """Unbiased under flipped labels: `((1-e) l(u) - e l(-u)) / (1 - 2e)`.

    `l(u) = -log sigmoid(u)` and `u = b (c - j)`.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: As in `logistic`.
      flipped: Probability that a label is wrong, below 0.5; epsilon.

    Returns:
      float [N], unbounded below.

    Reference: Chowdhury et al., 2024, Provably Robust DPO, arXiv:2403.00409.

    >>> print(robust(jnp.zeros(1), jnp.zeros(1)).round(3))
    [0.693]
    """
    right = logistic(chosen, rejected, beta=beta)
    wrong = logistic(rejected, chosen, beta=beta)
    return ((1.0 - flipped) * right - flipped * wrong) / (1.0 - 2.0 * flipped)


def exo(
    chosen: Array, rejected: Array, *, beta: float = 0.1, smoothing: float = 1e-3
) -> Array:
    """Reverse KL from the model's preference to the smoothed label.

    `sig(u) (log sig(u) - log(1-e)) + sig(-u) (log sig(-u) - log e)`, `u = b (c - j)`.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: As in `logistic`.
      smoothing: Probability of the other preference, above 0; epsilon.

    Returns:
      float [N], at least 0.

    Reference: Ji et al., 2024, Towards Efficient Exact Optimization of Language Model
    Alignment (EXO), arXiv:2402.00856.

    >>> exo(jnp.zeros(1), jnp.zeros(1), smoothing=0.5).tolist()
    [0.0]
    """
    u = beta * (chosen - rejected)
    right = jax.nn.log_sigmoid(u) - math.log1p(-smoothing)
    wrong = jax.nn.log_sigmoid(-u) - math.log(smoothing)
    return jax.nn.sigmoid(u) * right + jax.nn.sigmoid(-u) * wrong


def nca(chosen: Array, rejected: Array, *, beta: float = 0.1) -> Array:
    """Noise contrast of each answer alone: `l(bc) + l(-bc)/2 + l(-bj)/2`.

    Keeps the chosen answer likely, where DPO only keeps the difference.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: As in `logistic`.

    Returns:
      float [N].

    Reference: Chen et al., 2024, Noise Contrastive Alignment of Language Models with
    Explicit Rewards, arXiv:2402.05369.

    >>> print(nca(jnp.zeros(1), jnp.zeros(1)).round(3))
    [1.386]
    """
    good, bad = beta * chosen, beta * rejected
    likelihood = jax.nn.log_sigmoid(good)
    noise = jax.nn.log_sigmoid(-good) + jax.nn.log_sigmoid(-bad)
    return -likelihood - 0.5 * noise


def bco(
    chosen: Array, rejected: Array, *, beta: float = 0.1, shift: float = 0.0
) -> Array:
    """Classify answers: `l(bc - shift) + l(shift - bj)`.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: As in `logistic`.
      shift: Where the classes meet; the paper's running mean of the rewards.

    Returns:
      float [N].

    Reference: Jung et al., 2024, Binary Classifier Optimization, arXiv:2404.04656.

    >>> print(bco(jnp.zeros(1), jnp.zeros(1)).round(3))
    [1.386]
    """
    good = jax.nn.log_sigmoid(beta * chosen - shift)
    return -good - jax.nn.log_sigmoid(shift - beta * rejected)


def sppo(chosen: Array, rejected: Array, *, beta: float = 0.1) -> Array:
    """Self-play: `(c - 1/(2b))^2 + (j + 1/(2b))^2`, with wins of probability 0 and 1.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: Targets are plus and minus 1 / (2 beta) nats.

    Returns:
      float [N].

    Reference: Wu et al., 2024, Self-Play Preference Optimization, arXiv:2405.00675.

    >>> sppo(jnp.zeros(1), jnp.zeros(1), beta=0.5).tolist()
    [2.0]
    """
    target = 0.5 / beta
    return (chosen - target) ** 2 + (rejected + target) ** 2


def apo_zero(chosen: Array, rejected: Array, *, beta: float = 0.1) -> Array:
    """Anchored, for answers better than the model's: `1 - sig(bc) + sig(bj)`.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: As in `logistic`.

    Returns:
      float [N], between 0 and 2.

    Reference: D'Oosterlinck et al., 2024, Anchored Preference Optimization,
    arXiv:2408.06266.

    >>> apo_zero(jnp.zeros(1), jnp.zeros(1)).tolist()
    [1.0]
    """
    return jax.nn.sigmoid(-beta * chosen) + jax.nn.sigmoid(beta * rejected)


def apo_down(chosen: Array, rejected: Array, *, beta: float = 0.1) -> Array:
    """Anchored, for answers worse than the model's: `sig(bc) + 1 - sig(b (c - j))`.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: As in `logistic`.

    Returns:
      float [N], between 0 and 2.

    Reference: D'Oosterlinck et al., 2024, Anchored Preference Optimization,
    arXiv:2408.06266.

    >>> apo_down(jnp.zeros(1), jnp.zeros(1)).tolist()
    [1.0]
    """
    return jax.nn.sigmoid(beta * chosen) + jax.nn.sigmoid(beta * (rejected - chosen))


def discopop(
    chosen: Array, rejected: Array, *, beta: float = 0.1, temperature: float = 0.05
) -> Array:
    """Blend two losses: `(1 - k) l(u) + k exp(-u)` with `k = sig(u / tau)`.

    Args:
      chosen: float [N]. Log-ratio of the chosen answers to the reference, nats.
      rejected: float [N]. Of the rejected ones.
      beta: `u = beta (chosen - rejected)`, limited to 60 from below in the exponential.
      temperature: Width of the blend; tau. Below about 0.1 the loss grows with u near
        0, so that pairs at the reference are pulled the wrong way, as discovered.

    Returns:
      float [N], at least 0.

    Reference: Lu et al., 2024, Discovering Preference Optimization Algorithms with and
    for Large Language Models, arXiv:2406.08414.

    >>> discopop(jnp.full(1, 9e9), jnp.zeros(1)).tolist()
    [0.0]
    """
    u = beta * (chosen - rejected)
    blend = jax.nn.sigmoid(u / temperature)
    exponential = jnp.exp(-jnp.maximum(u, -LARGEST_LOG_RATIO))
    return -(1.0 - blend) * jax.nn.log_sigmoid(u) + blend * exponential


def aot(
    margin: Array, ref_margin: Array, *, beta: float = 0.1, smoothing: float = 0.0
) -> Array:
    """Logistic loss between sorted margins: prefer as a distribution, not pair by pair.

    It sorts over all pairs, so it depends on which pairs share a micro-batch.

    Args:
      margin: float [N]. Chosen minus rejected score under the trained model, or the
        log-ratios of the chosen answers (the unpaired form).
      ref_margin: float [N]. Chosen minus rejected score under the reference; constant.
        Or the log-ratios of the rejected answers.
      beta: As in `logistic`.
      smoothing: As in `logistic`.

    Returns:
      float [N]; entry i belongs to the i-th smallest margins.

    Reference: Melnyk et al., 2024, Distributional Preference Alignment of LLMs via
    Optimal Transport, arXiv:2406.05882.

    >>> print(aot(jnp.array([3.0, 1.0]), jnp.array([1.0, 3.0])).round(3))
    [0.693 0.693]
    """
    return logistic(
        jnp.sort(margin), jnp.sort(ref_margin), beta=beta, smoothing=smoothing
    )


def reverse_kl_link(log_ratio: Array) -> Array:
    """f-DPO with the reverse KL, which is DPO: the log-ratio itself.

    Args:
      log_ratio: float [N]. Of an answer, to the reference.

    Returns:
      float [N].

    >>> reverse_kl_link(jnp.ones(1)).tolist()
    [1.0]
    """
    return log_ratio


def forward_kl_link(log_ratio: Array) -> Array:
    """f-DPO with the forward KL: `1 - exp(-x)`, which a likely answer can't exceed.

    Args:
      log_ratio: float [N]. Of an answer, to the reference; limited to -60 from below.

    Returns:
      float [N], below 1.

    Reference: Wang et al., 2023, Beyond Reverse KL: Generalizing Direct Preference
    Optimization with Diverse Divergence Constraints, arXiv:2309.16240.

    >>> forward_kl_link(jnp.zeros(1)).tolist()
    [0.0]
    """
    return -jnp.expm1(-jnp.maximum(log_ratio, -LARGEST_LOG_RATIO))


def jensen_shannon_link(log_ratio: Array) -> Array:
    """f-DPO with the Jensen-Shannon divergence: `log 2 + log sigmoid(x)`.

    Args:
      log_ratio: float [N]. Of an answer, to the reference.

    Returns:
      float [N], below log 2.

    Reference: Wang et al., 2023, Beyond Reverse KL, arXiv:2309.16240.

    >>> jensen_shannon_link(jnp.zeros(1)).tolist()
    [0.0]
    """
    return math.log(2.0) + jax.nn.log_sigmoid(log_ratio)
