"""Preference pairs from rewarded samples. NumPy, no JAX."""

from collections.abc import Iterable

from jaxrl.rollout.types import Episode, Trace


def best_and_worst(episodes: Iterable[Episode]) -> list[tuple[Trace, Trace]]:
    """Pair the sample with the highest reward of each group with that of the lowest.

    A group whose rewards are all equal says nothing about preferences and gives no
    pair; failed and untrainable traces take no part. Of equal rewards the earlier
    sample is taken. The first trace of an episode speaks for it.

    Args:
      episodes: Rewards are summed over channels.

    Returns:
      (chosen, rejected) traces, one pair for each group with unequal rewards.
    """
    groups: dict[int, list[Trace]] = {}
    for episode in episodes:
        trace = episode.traces[0]
        if trace.failure is None and trace.trainable:
            groups.setdefault(episode.group, []).append(trace)
    pairs = []
    for traces in groups.values():
        best = max(traces, key=lambda trace: sum(trace.rewards))
        worst = min(traces, key=lambda trace: sum(trace.rewards))
        if sum(best.rewards) > sum(worst.rewards):
            pairs.append((best, worst))
    return pairs
