"""CE-GPPO: GPPO with a scale on either side."""

from functools import partial

from jaxrl.surrogates.decay import ce_gppo
from tests.golden.verl import regions, surrogate_loss, weights_of


def scaled(hp, inputs):
    surrogate = partial(
        ce_gppo,
        low=hp["cliprange_low"],
        high=hp["cliprange_high"],
        left_scale=hp["beta1"],
        right_scale=hp["beta2"],
        cap=hp["clip_ratio_c"],
    )
    weights = weights_of(hp, inputs["mask"], empty_rows_count=True)
    return surrogate_loss(surrogate, inputs, weights) | regions(hp, inputs)


ADAPTERS = {"ce_gppo": scaled}
