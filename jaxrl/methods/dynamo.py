"""Dynamic modulation of advantages; the allocation is the rollouts' part."""

import dataclasses
from collections.abc import Callable
from functools import partial

from jaxrl.advantages.groups import group_normalised, lengths, spread
from jaxrl.advantages.modulation import dynamo, entropy_change_of_update
from jaxrl.advantages.scaling import as_sampled
from jaxrl.methods.evidence import required
from jaxrl.methods.surrogate import surrogate_loss
from jaxrl.surrogates.clipping import dual_clipped
from jaxrl.types import Array, Batch, Credit, Loss, Needs, Scores
from jaxrl.weights import token_mean


@dataclasses.dataclass(frozen=True)
class DynaMo:
    """DynaMO: damp what moves entropy, boost what is sure (2026, arXiv:2602.19208).

    Samples are shared out by `jaxrl.rollout.allocation`. Differs from the release: the
    factors are those of the policy that sampled, once per batch and over all of it; the
    release recomputes them in every micro-batch. At the first update they are equal.

    Attributes:
      floor: Limit of the damping; lambda.
      sharpness: Of the damping; gamma.
      threshold: Share of the largest entropy change at which damping sets in; tau.
      boost: Factor of good tokens at the lowest entropy; mu.
      prompt_share: `as_sampled`, the release's, or `equal_prompts`, which its theory
        assumes; from `jaxrl.advantages.scaling`.
      clip_low: Distance of the lower bound of the ratio from 1.
      clip_high: Distance of the upper bound of the ratio from 1.
      cap: Largest ratio of a token with negative advantage.
    """

    floor: float = 0.6
    sharpness: float = 50.0
    threshold: float = 0.99
    boost: float = 1.2
    prompt_share: Callable[[Array, Array], Array] = as_sampled
    clip_low: float = 0.2
    clip_high: float = 0.28
    cap: float = 10.0

    needs = Needs(groups=True, entropy=True)

    def credit(self, batch: Batch) -> Credit:
        """Normalise within groups, then modulate tokens; weigh tokens alike."""
        number = len(batch.group)
        entropy = required(batch.evidence.entropy, "evidence.entropy")
        advantages = spread(
            group_normalised(batch.rewards.sum(-1), batch.group, num_groups=number),
            batch.sequence,
            batch.mask,
        )
        change = entropy_change_of_update(
            advantages, batch.old_logp, entropy, batch.sequence, batch.mask
        )
        modulated = dynamo(
            advantages,
            change,
            entropy,
            batch.mask,
            floor=self.floor,
            sharpness=self.sharpness,
            threshold=self.threshold,
            boost=self.boost,
        )
        live = lengths(batch.sequence, batch.mask, num_sequences=number) > 0
        share = self.prompt_share(batch.group, live)
        weights = token_mean(batch.mask) * spread(share, batch.sequence, batch.mask)
        return Credit(modulated, weights)

    def loss(self, scores: Scores, batch: Batch, credit: Credit) -> Loss:
        """Clipped policy gradient with a cap on the ratio of bad tokens."""
        surrogate = partial(
            dual_clipped, low=self.clip_low, high=self.clip_high, cap=self.cap
        )
        return surrogate_loss(scores, batch, credit, surrogate)
