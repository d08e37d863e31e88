"""Contrastive decoding rules of seven releases, one decoding step each."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.contrast.attention import (
    FIRST_TOKENS,
    amplified,
    over_trust,
    penalised,
    rollback_position,
)
from jaxrl.contrast.fusion import agla, kept, m3id, pai, pnd, vcd
from jaxrl.contrast.layers import (
    contrast_scores,
    dola_logp,
    dola_static,
    layer_divergence,
)


def arrays(inputs, *names):
    return tuple(jnp.asarray(inputs[name]) for name in names)


def sampled(hp, scores):
    """What follows from scores; some functions record fewer of these."""
    return {
        "scores": scores,
        "probs": jax.nn.softmax(scores / hp.get("temperature", 1.0)),
        "keep": jnp.isfinite(scores),
        "argmax": jnp.argmax(scores, -1),
    }


def pnd_paper(hp, inputs):
    views = arrays(inputs, "logits", "logits_positive", "logits_negative")
    weights = {"positive_weight": hp["alpha"], "negative_weight": hp["gamma"]}
    return sampled(hp, pnd(*views, **weights, share=hp["beta"]))


def pnd_llava(hp, inputs, *, negative=True):
    """The original logits only mask; a positive view alone is ignored."""
    logits, positive = arrays(inputs, "logits", "logits_positive")
    scores = logits
    if negative:
        (other,) = arrays(inputs, "logits_negative")
        scores = hp["alpha"] * positive - hp["gamma"] * other
    return sampled(hp, kept(scores, logits, share=hp["beta"]))


def pnd_internvl(hp, inputs, *, positive=True, negative=True):
    """Both signs are reversed with respect to the paper."""
    (logits,) = arrays(inputs, "logits")
    positive_weight = -hp["alpha"] * positive
    negative_weight = -hp["gamma"] * negative
    views = arrays(
        inputs,
        "logits_positive" if positive else "logits",
        "logits_negative" if negative else "logits",
    )
    own = 1 - positive_weight + negative_weight
    scores = pnd(
        own * logits,
        *views,
        positive_weight=positive_weight,
        negative_weight=negative_weight,
        share=0.0,
    )
    return sampled(hp, kept(scores, logits, share=hp["beta"]))


def contrasted(hp, inputs, *, rule, other):
    views = arrays(inputs, "logits", other)
    return sampled(hp, rule(*views, weight=hp["alpha"], share=hp["beta"]))


def pai_logits(hp, inputs):
    """At gamma 1 theirs doesn't mask."""
    share = 0.0 if hp["gamma"] == 1 else hp["beta"]
    views = arrays(inputs, "logits", "logits_uncond")
    return sampled(hp, pai(*views, scale=hp["gamma"], share=share))


def pai_attention(hp, inputs):
    (scores,) = arrays(inputs, "attn_scores")
    keys = jnp.arange(scores.shape[-1])
    image = (keys >= hp["img_start_idx"]) & (keys < hp["img_end_idx"])
    raised = amplified(scores, image, weight=hp["alpha"])
    return {"attn_probs": jax.nn.softmax(raised)}


def m3id_formula(hp, inputs):
    logits, other = arrays(inputs, "logits", "logits_uncond")
    options = {"threshold": hp["threshold"], "decay": hp["decay"]}
    best = jax.nn.softmax(logits).max(-1)
    scores = m3id(logits, other, index=hp["t"], **options)
    return {**sampled(hp, scores), "gate": best < hp["threshold"]}


def their_divergence(final, early):
    """Both KL terms with swapped arguments, averaged over the vocabulary."""
    last, first = jax.nn.softmax(final)[None], jax.nn.softmax(early)
    middle = 0.5 * (last + first)
    terms = middle * (2 * jnp.log(middle) - jnp.log(last) - jnp.log(first))
    return 0.5 * terms.mean(-1)


def contrast(hp, final, early):
    """Without a mask theirs contrasts logits, not log-probabilities."""
    if hp["relative_top"] == 0:
        return final - early
    return dola_static(final, early, share=hp["relative_top"])


def dola_release(hp, inputs):
    """One layer for the whole batch."""
    final, early = arrays(inputs, "mature_logits", "premature_logits")
    divergence = their_divergence(final, early).mean(1)
    layer = jnp.argmax(divergence)
    found = sampled(hp, contrast(hp, final, early[layer]))
    return {**found, "js_divs": divergence, "layer_index": layer}


def dola_true(hp, inputs):
    final, early = arrays(inputs, "mature_logits", "premature_logits")
    divergence = layer_divergence(final, early)
    layer = jnp.argmax(divergence.mean(1))
    scores = contrast(hp, final, early[layer])
    return {"scores": scores, "jsd": divergence, "layer_index": layer}


def dola_given(hp, inputs):
    return sampled(
        hp, contrast(hp, *arrays(inputs, "mature_logits", "premature_logits"))
    )


def dola_scoring(hp, inputs):
    final, early, tokens = arrays(
        inputs, "mature_logits", "premature_logits", "continuation_ids"
    )
    scored = slice(hp["prefix_length"] - 1, -1)
    final, early = final[scored], early[:, scored]
    divergence = their_divergence(final, early)
    layer = jnp.argmax(divergence, 0)
    chosen = early[layer, jnp.arange(len(layer))]
    options = {
        "share": hp["relative_top"],
        "implausible": hp["relative_top_value"],
        "normalised": hp["post_softmax"],
    }
    return {
        "diff_logits": contrast_scores(final, chosen, **options),
        "js_divs": divergence,
        "layer_index": layer,
        "log_prob": dola_logp(final, chosen, tokens, **options).sum(),
    }


def opera(hp, inputs):
    """Theirs computes in float32 and keeps column scores in half precision."""
    attention, logits = arrays(inputs, "attention", "candidate_logits")
    keys = jnp.arange(attention.shape[-1])
    image = (keys >= hp["image_start"]) & (keys <= hp["image_end"])
    trust = over_trust(
        attention.astype(jnp.float32),
        image,
        start=hp["response_start"],
        scale=hp["scale_factor"],
    )
    columns = trust.columns.astype(jnp.float16).astype(jnp.float32)
    late = columns.shape[-1] > FIRST_TOKENS
    rounded = columns.max(-1) if late else trust.penalty
    weighted = hp["penalty_weights"] * rounded
    weighted = weighted.astype(jnp.float16) if late else weighted
    trust = trust._replace(columns=columns, penalty=rounded)
    return {
        "candidate_scores": penalised(logits, trust._replace(penalty=weighted)),
        "penalty": trust.penalty,
        "column_scores": trust.columns,
        "rollback_locs": trust.rollback,
        "rollback_loc": rollback_position(trust, size=columns.shape[-1]),
    }


ADAPTERS = {
    "pnd_paper_formula": pnd_paper,
    "pnd_llava": pnd_llava,
    "pnd_llava_positive_only": partial(pnd_llava, negative=False),
    "pnd_internvl": pnd_internvl,
    "pnd_internvl_positive_only": partial(pnd_internvl, negative=False),
    "pnd_internvl_negative_only": partial(pnd_internvl, positive=False),
    "vcd": partial(contrasted, rule=vcd, other="logits_distorted"),
    "agla": partial(contrasted, rule=agla, other="logits_augmented"),
    "pai": pai_logits,
    "pai_attention": pai_attention,
    "m3id_formula": m3id_formula,
    "dola": dola_release,
    "dola_static": dola_given,
    "dola_true_jsd_formula": dola_true,
    "dola_scoring": dola_scoring,
    "opera_penalty": opera,
}
