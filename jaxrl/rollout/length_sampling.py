"""Which prompts to train on, by the length of their responses. NumPy, no JAX."""

import numpy as np

from jaxrl.errors import UserError

FEWEST = 4
"""Below this number of prompts, quantiles of their lengths mean nothing."""


def length_aware(
    lengths: np.ndarray, *, low: float = 0.3, high: float = 0.65, longest: float = 0.95
) -> np.ndarray:
    """Keep the prompts with the shortest and the longest responses.

    Keeps mean lengths up to the `low` quantile, and those from the `high` to the
    `longest` quantile, ends included: the middle tells least, and the very longest run
    away. Quantiles are those of the prompts given, without interpolation. Apply it to
    what `filtering.informative` keeps, in every round of sampling.

    >>> length_aware(np.arange(1, 11)).nonzero()[0] + 1
    array([ 1,  2,  3,  7,  8,  9, 10])

    Args:
      lengths: float [n]. Mean response length of each prompt, tokens.
      low: Quantile up to which short ones are kept.
      high: Quantile from which on long ones are kept.
      longest: Quantile beyond which nothing is kept.

    Returns:
      bool [n]. All True for fewer than 4 prompts.

    References:
      Chen et al. (2025), LSPO: Length-aware Dynamic Sampling for Policy Optimization,
      section 3, arXiv:2510.01459. Reconstruction: V-tableR1 (arXiv:2604.20755) refers
      to it; the percentages are from memory.
    """
    if not 0 < low <= high <= longest <= 1:
        raise UserError(
            f"low, high and longest are {low}, {high} and {longest}; give rising "
            "quantiles in (0, 1]"
        )
    lengths = np.asarray(lengths, float)
    if len(lengths) < FEWEST:
        return np.ones(len(lengths), bool)
    short, long, cut = (_quantile(lengths, share) for share in (low, high, longest))
    return (lengths <= short) | ((lengths >= long) & (lengths <= cut))


def _quantile(x: np.ndarray, share: float) -> float:
    """Smallest entry with at least this share of all entries up to it."""
    # 0.3 * 10 is a little above 3: without the margin it would be the fourth entry.
    return np.sort(x)[max(int(np.ceil(share * len(x) - 1e-9)) - 1, 0)]
