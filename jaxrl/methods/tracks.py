"""Tracks: some tokens of a batch with a credit or a loss of their own."""

import dataclasses

import jax.numpy as jnp

from jaxrl.advantages.channels import track
from jaxrl.advantages.groups import spread
from jaxrl.advantages.steps import trajectory_zscore
from jaxrl.losses.supervised import nll
from jaxrl.methods.credit import no_credit
from jaxrl.methods.evidence import required
from jaxrl.types import Array, Batch, Credit, Loss, Scores
from jaxrl.weights import trajectory_mean


def routed(batch: Batch, channel: int) -> Array:
    """Tell which trained tokens a channel credits.

    Args:
      batch: The data.
      channel: A value of `batch.channel`.

    Returns:
      bool [N, T].
    """
    return batch.mask & (batch.channel == channel)


def only(credit: Credit, tokens: Array) -> Credit:
    """The same credit, trained on some tokens only and without a second track.

    Args:
      credit: Of the batch.
      tokens: bool [N, T]. Those that keep their weight.

    Returns:
      The credit.
    """
    weights = jnp.where(tokens, credit.weights, 0.0)
    return dataclasses.replace(credit, weights=weights, second=None)


def split(credit: Credit, tokens: Array) -> Credit:
    """Take the credit of some tokens away, and make them a second track without any.

    Args:
      credit: Of the batch.
      tokens: bool [N, T]. Those of the second track, with the weights they have.

    Returns:
      The credit.
    """
    second = no_credit(jnp.where(tokens, credit.weights, 0.0))
    advantages = jnp.where(tokens, 0.0, credit.advantages)
    return dataclasses.replace(credit, advantages=advantages, second=second)


def second_of(credit: Credit) -> Credit:
    """The second track, or an error that names it.

    Args:
      credit: From a method that has two tracks.

    Returns:
      The second one.
    """
    return required(credit.second, "credit.second")


def channel_track(
    batch: Batch, channel: int, advantages: Array, weights: Array
) -> Credit:
    """Give the tokens of a channel the advantages of their sequences.

    Args:
      batch: The data.
      channel: A value of `batch.channel`.
      advantages: float [S]. One per sequence.
      weights: float [N, T]. Of all tokens; only those of the channel keep theirs.

    Returns:
      The credit.
    """
    tokens = routed(batch, channel)
    own = spread(advantages, batch.sequence, tokens)
    return Credit(own, jnp.where(tokens, weights, 0.0))


def compared(batch: Batch, rewards: Array, *, limit: float) -> Array:
    """Normalise one reward channel within groups.

    Args:
      batch: The data; who failed has a group of its own.
      rewards: float [S]. Of the channel.
      limit: Largest magnitude.

    Returns:
      float [S]. In deviations.
    """
    number, everyone = len(batch.group), jnp.ones_like(batch.group, bool)
    return track(rewards, everyone, batch.group, num_groups=number, limit=limit)


def trajectory_track(batch: Batch, trajectory: Array, channel: int) -> Credit:
    """Normalise the reward of a channel by trajectory, for the tokens it credits.

    Args:
      batch: The data.
      trajectory: int [S]. Equal for the sequences of one trajectory; ids are below S.
      channel: A value of `batch.channel`, and the reward channel of these tokens.

    Returns:
      Credit whose weights are those of trajectories alike; 0 on other tokens.
    """
    tokens = routed(batch, channel)
    z = trajectory_zscore(batch.rewards[:, channel], batch.group, trajectory)
    weights = trajectory_mean(tokens, batch.sequence, trajectory)
    return channel_track(batch, channel, z, weights)


def credited_likelihood(scores: Scores, credit: Credit) -> Loss:
    """Likelihood of the tokens, each times its credit: no ratio, no baseline.

    Args:
      scores: What the trained model says.
      credit: A track.

    Returns:
      The loss, nats times credit. Metric `nll`.
    """
    return nll(scores.logp, credit.weights * credit.advantages)


def named(loss: Loss, prefix: str) -> Loss:
    """Put a prefix to the names of the metrics, to tell a track from the first.

    Args:
      loss: Of the track.
      prefix: Such as `second_`.

    Returns:
      The same loss.
    """
    metrics = {f"{prefix}{name}": mean for name, mean in loss.metrics.items()}
    return Loss(loss.value, metrics)
