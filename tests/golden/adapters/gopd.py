"""G-OPD: a teacher followed further than it went, and one of several teachers."""

import jax.numpy as jnp

from jaxrl.advantages.teacher import generalised_log_ratio, teacher_log_ratio


def generalised(hp, inputs, teacher="teacher_log_prob"):
    mask = jnp.asarray(inputs["mask"], bool)
    advantages = generalised_log_ratio(
        inputs["old_log_prob"],
        inputs[teacher],
        inputs["base_log_prob"],
        mask,
        extrapolation=hp["lambda_vals"],
    )
    return {"advantages": advantages}


def of_several_teachers(hp, inputs):
    """Each row has a teacher; the third kind is plain OPD whatever lambda is."""
    kind = inputs["teacher_kind"][:, None]
    first = generalised(hp, inputs)["advantages"]
    second = generalised(hp, inputs, "second_teacher_log_prob")["advantages"]
    plain = teacher_log_ratio(
        inputs["old_log_prob"],
        inputs["teacher_log_prob"],
        jnp.asarray(inputs["mask"], bool),
    )
    return {"advantages": jnp.select([kind == 0, kind == 1], [first, second], plain)}


ADAPTERS = {"gopd": generalised, "gopd_multi_teacher": of_several_teachers}
