"""RoPE frequencies against transformers' own."""

import numpy as np
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from models.config import Llama3Scaling, Rope
from models.layers import frequencies, rotate, rotations


def test_frequencies_equal_those_of_llama_3_1():
    scaling = Llama3Scaling(8.0, 1.0, 4.0, 8192)
    parameters = {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = LlamaConfig(rope_parameters=parameters, max_position_embeddings=131072)
    expected = LlamaRotaryEmbedding(config).inv_freq.numpy()
    actual = frequencies(Rope(5e5, scaling), config.head_dim)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    unscaled = frequencies(Rope(5e5), config.head_dim)
    assert (np.asarray(unscaled) / expected).max() > 7.9


def test_products_of_rotated_vectors_depend_on_the_distance_only(variant):
    vectors = np.random.default_rng(0).normal(size=(2, 1, 1, 8)).astype(np.float32)

    def product(positions):
        query, key = (
            rotate(vector[None], rotations(Rope(100.0), 8, position.reshape(1, 1)))
            for vector, position in zip(vectors, positions, strict=True)
        )
        return (query * key).sum()

    near, far, other = (
        variant(product)(np.int32(pair)) for pair in [(7, 3), (104, 100), (7, 4)]
    )
    np.testing.assert_allclose(near, far, rtol=1e-4)
    assert abs(near - other) > 1e-2
