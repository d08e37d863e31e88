"""TRL's DPO losses: the first half of the rows is chosen, the second rejected."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.losses import preference_variants as variants
from jaxrl.losses.preference import (
    hinge,
    ipo,
    length_desensitised,
    logistic,
    preference,
    summed,
)
from jaxrl.losses.supervised import nll
from jaxrl.weights import token_mean

LINKS = {
    "reverse_kl": variants.reverse_kl_link,
    "forward_kl": variants.forward_kl_link,
    "js_divergence": variants.jensen_shannon_link,
}


def halves(x):
    return jnp.split(jnp.asarray(x), 2)


def masks_of(inputs):
    """Of the tokens that are predicted: all but the first."""
    return halves(jnp.asarray(inputs["completion_mask"], bool)[:, 1:])


def scores_of(hp, inputs, logp):
    """Of chosen and rejected rows under the policy, then under the reference."""
    good, bad = masks_of(inputs)
    score = summed
    if hp["ld_alpha"] is not None:
        score = partial(length_desensitised, share=hp["ld_alpha"])
    (c, j), (rc, rj) = halves(logp), halves(inputs["ref_log_prob"])
    return (
        score(c, good, bad),
        score(j, bad, good),
        score(rc, good, bad),
        score(rj, bad, good),
    )


def lengths_of(inputs):
    """Of the unshifted mask, as theirs divides by it."""
    return (x.sum(1) for x in halves(inputs["completion_mask"]))


def result(inputs, loss):
    """`loss(logp) -> (value, (per pair, scores))` with its gradient."""

    def both(logp):
        value, (pairs, scores) = loss(logp)
        return value, (pairs, scores)

    (value, (pairs, scores)), gradient = jax.value_and_grad(both, has_aux=True)(
        jnp.asarray(inputs["log_prob"])
    )
    return {
        "loss": value,
        "grad_log_prob": gradient,
        "per_pair_loss": pairs,
        "chosen_logps": scores[0],
        "rejected_logps": scores[1],
    }


def of_ratios(pair_loss_of, scale=lambda inputs: (1.0, 1.0)):
    """A pair loss of log-ratios, each divided by a length."""

    def adapter(hp, inputs):
        pair_loss, link = pair_loss_of(hp), LINKS[hp["f_divergence"]]
        good, bad = scale(inputs)

        def scaled(c, j):
            return pair_loss(link(c) / good, link(j) / bad)

        def loss(logp):
            scores = scores_of(hp, inputs, logp)
            weights = jnp.full(len(scores[0]), 1 / len(scores[0]))
            value = preference(*scores, weights, pair_loss=scaled).value
            c, j, rc, rj = scores
            return value, (scaled(c - rc, j - rj), scores)

        return result(inputs, loss)

    return adapter


def with_beta(pair_loss, **renamed):
    """The hyperparameters of a pair loss by our names, from theirs."""

    def of(hp):
        return partial(
            pair_loss, beta=hp["beta"], **{k: hp[v] for k, v in renamed.items()}
        )

    return of


def aot(hp, inputs):
    def loss(logp):
        c, j, rc, rj = scores = scores_of(hp, inputs, logp)
        pairs = variants.aot(
            c - j, rc - rj, beta=hp["beta"], smoothing=hp["label_smoothing"]
        )
        return pairs.mean(), (pairs, scores)

    return result(inputs, loss)


def aot_unpaired(hp, inputs):
    def loss(logp):
        c, j, rc, rj = scores = scores_of(hp, inputs, logp)
        pairs = variants.aot(
            c - rc, j - rj, beta=hp["beta"], smoothing=hp["label_smoothing"]
        )
        return pairs.mean(), (pairs, scores)

    return result(inputs, loss)


def sft(hp, inputs):
    mask, _ = masks_of(inputs)

    def loss(logp):
        scores = scores_of(hp, inputs, logp)
        value = nll(halves(logp)[0], token_mean(mask)).value
        return value, (jnp.full(len(mask), value), scores)

    return result(inputs, loss)


ADAPTERS = {
    "sigmoid": of_ratios(with_beta(logistic)),
    "hinge": of_ratios(with_beta(hinge)),
    "ipo": of_ratios(with_beta(ipo), lengths_of),
    "sigmoid_norm": of_ratios(with_beta(logistic), lengths_of),
    "robust": of_ratios(with_beta(variants.robust, flipped="label_smoothing")),
    "exo_pair": of_ratios(with_beta(variants.exo, smoothing="label_smoothing")),
    "nca_pair": of_ratios(with_beta(variants.nca)),
    "bco_pair": of_ratios(with_beta(variants.bco)),
    "sppo_hard": of_ratios(with_beta(variants.sppo)),
    "aot": aot,
    "aot_unpaired": aot_unpaired,
    "apo_zero": of_ratios(with_beta(variants.apo_zero)),
    "apo_down": of_ratios(with_beta(variants.apo_down)),
    "discopop": of_ratios(with_beta(variants.discopop, temperature="discopop_tau")),
    "sft": sft,
    "sigmoid_forward_kl": of_ratios(with_beta(logistic)),
    "sigmoid_js": of_ratios(with_beta(logistic)),
    "sigmoid_length_desensitized": of_ratios(with_beta(logistic)),
}
