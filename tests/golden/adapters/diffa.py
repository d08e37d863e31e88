"""DIFFA: LLaDA's loss, over the text tokens of rows that hold audio, too."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.diffusion import hidden_at_random, masking_probability
from jaxrl.divergences.vocabulary import at
from jaxrl.losses.diffusion import masked_nll
from jaxrl.weights import token_mean


def with_audio(hp, inputs, x, fill):
    """Insert `fill` where each row's audio stands."""
    return np.stack(
        [
            np.insert(row, [int(place)] * hp["n_audio"], fill)
            for row, place in zip(x, inputs["audio_position"], strict=True)
        ]
    )


def masked_diffusion_loss(hp, inputs):
    """Their labels say -100 where nothing is to be predicted."""
    ids, lengths = inputs["input_ids"], inputs["prompt_lengths"]
    answer = np.arange(ids.shape[1])[None, :] >= lengths[:, None]
    hidden = inputs["masked"] & answer
    masked = with_audio(hp, inputs, hidden, False)
    labels = with_audio(hp, inputs, np.where(hidden, ids, -100), -100)
    level = jnp.asarray(inputs["t"])[:, None] * jnp.ones(masked.shape)
    weights = token_mean(jnp.asarray(with_audio(hp, inputs, answer, False)))

    def loss(logits):
        logp = at(logits, jnp.maximum(labels, 0)[..., None])[..., 0]
        return masked_nll(logp, jnp.asarray(masked), level, weights).value

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(inputs["logits"]))
    return {
        "labels": labels,
        "t_expanded": level,
        "num_prompt_tokens": lengths.sum(),
        "loss": value,
        "grad_logits": gradient,
    }


def noise_level(hp, inputs):
    """The uniform numbers are compared in their own precision."""
    probability = masking_probability(jnp.asarray(inputs["t"]), floor=hp["eps"])
    noise = jnp.asarray(inputs["uniform"])
    masked = hidden_at_random(noise, probability, jnp.ones(noise.shape, bool))
    return {"mask_probability": probability, "masked": masked}


ADAPTERS = {
    "masked_diffusion_loss": masked_diffusion_loss,
    "noise_level": noise_level,
}
