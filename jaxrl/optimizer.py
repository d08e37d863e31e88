"""The optimizer of a run, from its config."""

import jax
import optax

from jaxrl.config import OptimizerConfig
from jaxrl.critic import of_critic
from jaxrl.types import Params

# Norm scales and biases set a scale, not a direction: decaying them only shrinks it.
UNDECAYED = ("scale", "bias")


def learning_rate(config: OptimizerConfig, updates: int) -> optax.Schedule:
    """Linear warm-up, then what the config says until the last update.

    Args:
      config: Peak, warm-up and decay.
      updates: Optimizer updates of the whole run.

    Returns:
      Update number to learning rate.

    >>> rate = learning_rate(OptimizerConfig(learning_rate=0.1, warmup_steps=2), 10)
    >>> [round(float(rate(i)), 3) for i in (0, 1, 2, 9)]
    [0.05, 0.1, 0.1, 0.1]
    """
    peak, rest = config.learning_rate, max(1, updates - config.warmup_steps)
    after = {
        "constant": optax.constant_schedule(peak),
        "linear": optax.linear_schedule(peak, peak * config.final_fraction, rest),
        "cosine": optax.cosine_decay_schedule(peak, rest, config.final_fraction),
    }[config.schedule]
    if config.warmup_steps == 0:
        return after
    # The first update already moves: it takes the first step of the warm-up.
    first = peak / config.warmup_steps
    warmup = optax.linear_schedule(first, peak, max(1, config.warmup_steps - 1))
    return optax.join_schedules([warmup, after], [config.warmup_steps])


def make_optimizer(
    config: OptimizerConfig, updates: int
) -> optax.GradientTransformation:
    """AdamW behind global-norm clipping; a critic may learn at a rate of its own.

    Args:
      config: Hyperparameters.
      updates: Optimizer updates of the whole run, for the schedule.

    Returns:
      The optax transformation.
    """
    adamw = optax.adamw(
        learning_rate(config, updates),
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decayed,
    )
    parts = [adamw]
    if config.clip_norm:
        parts = [optax.clip_by_global_norm(config.clip_norm), adamw]
    if config.critic_learning_rate is not None:
        # An update of AdamW is proportional to the learning rate.
        faster = config.critic_learning_rate / config.learning_rate
        parts.append(optax.masked(optax.scale(faster), of_critic))
    return optax.chain(*parts)


def decayed(params: Params) -> Params:
    """Which parameters weight decay acts on: a bool for each."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key not in UNDECAYED, params
    )
