"""A policy of a few thousand parameters, its data, for tests of runs."""

import contextlib
import dataclasses
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from jaxrl.rollout.batching import Packed, Rows, SharedPrompt, to_batch
from jaxrl.rollout.types import Completion, Episode, Failure, Problem, Trace, Turn
from models.config import DecoderConfig
from models.decoder import language_model
from models.huggingface import save

CHARACTERS = "0123456789+="
EOS = 1
ARCHITECTURE = DecoderConfig(
    vocab_size=16,
    hidden_size=16,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    mlp_size=24,
    qk_norm=True,
    tie_embeddings=True,
    max_positions=128,
)
MODEL = language_model(ARCHITECTURE)
CACHE = tempfile.TemporaryDirectory(prefix="jaxrl_cache_")


def params(seed=0):
    """Random parameters, large enough for varied distributions; no compilation."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0))

    def draw(path, leaf):
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(rng.normal(centre, 0.3, leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def tokenizer():
    """One token for each character; 0 pads, 1 ends, 2 is unknown."""
    words = ["<pad>", "<eos>", "<unk>", *CHARACTERS]
    made = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def write_policy(path: Path, seed=0) -> Path:
    """Write a Hugging Face directory, without torch."""
    save(path, ARCHITECTURE, params(seed), tokenizer())
    return path


def problems(count, seed=0, *, longest=6):
    """Prompts of 1 to `longest` characters; the answer is their sum, one digit."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        digits = rng.integers(0, 10, rng.integers(1, longest + 1))
        found.append(
            Problem(str(index), "".join(map(str, digits)), str(digits.sum() % 10))
        )
    return found


@contextlib.contextmanager
def cached_compilation():
    """Let equal programs of the tests of this process compile once, and quickly."""
    names = {
        "jax_compilation_cache_dir": CACHE.name,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in names.items():
        jax.config.update(name, value)
    jax.config.update("jax_disable_most_optimizations", True)
    compilation_cache.reset_cache()
    yield CACHE.name
    jax.config.update("jax_disable_most_optimizations", False)
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def episodes(prompts=4, samples=4, seed=0):
    """Random episodes with one failed reward; no policy involved."""
    rng = np.random.default_rng(seed)
    found = []
    for group in range(prompts):
        prompt = rng.integers(3, 15, rng.integers(1, 7)).astype(np.int32)
        for _ in range(samples):
            size = int(rng.integers(1, 9))
            drawn = Completion(
                tokens=rng.integers(3, 15, size).astype(np.int32),
                logp=rng.uniform(-4, -1, size).astype(np.float32),
                version=0,
                finished=True,
            )
            trace = Trace((Turn(prompt, drawn),), (float(rng.random()),))
            found.append(Episode(Problem(str(group), "", ""), (trace,), group))
    failed = dataclasses.replace(
        found[5].traces[0], failure=Failure("error", "as an example")
    )
    found[5] = dataclasses.replace(found[5], traces=(failed,))
    return found


LAYOUTS = {
    "shared": SharedPrompt(
        prompts=4, samples=4, prompt_lengths=(8,), response_lengths=(8,)
    ),
    # A prompt and two samples more than there are: filled up.
    "filled": SharedPrompt(
        prompts=8, samples=6, prompt_lengths=(10,), response_lengths=(12,)
    ),
    "rows": Rows(16, (16,)),
    "packed": Packed(16, 30, 20),
}


def batch(layout="shared", seed=0):
    """The same episodes in any of `LAYOUTS`."""
    return to_batch(episodes(seed=seed), layout=LAYOUTS[layout])


@contextlib.contextmanager
def compilations():
    """A list that grows by one with every program that XLA compiles."""
    found = []

    def listen(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
