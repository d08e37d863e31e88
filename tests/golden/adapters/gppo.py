"""GPPO, from the release of Klear-Reasoner."""

from functools import partial

from jaxrl.surrogates.decay import gppo
from tests.golden.verl import regions, surrogate_loss, weights_of


def preserved(hp, inputs):
    surrogate = partial(
        gppo,
        low=hp["cliprange_low"],
        high=hp["cliprange_high"],
        cap=hp["clip_ratio_c"],
    )
    weights = weights_of(hp, inputs["mask"], empty_rows_count=True)
    return surrogate_loss(surrogate, inputs, weights) | regions(hp, inputs)


ADAPTERS = {"gppo": preserved}
