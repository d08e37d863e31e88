"""One tiny Hugging Face checkpoint of every family, and its PyTorch reference."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from models.api import LanguageModel, Params
from models.config import DecoderConfig
from models.decoder import language_model
from models.huggingface import load
from tests.checkpoints import FAMILIES, write_tiny_checkpoint


@dataclasses.dataclass(frozen=True)
class Case:
    """A checkpoint, loaded here and by transformers.

    Attributes:
      path: The checkpoint directory.
      model: The model under test.
      params: Its parameters.
      reference: transformers' PyTorch model.
    """

    path: Path
    model: LanguageModel
    params: Params
    reference: torch.nn.Module

    def with_config(self, config: DecoderConfig) -> "Case":
        """The same parameters in another architecture."""
        model = language_model(config)
        model = model._replace(forward=jax.jit(model.forward))
        return dataclasses.replace(self, model=model)

    def reference_logits(self, tokens: np.ndarray) -> np.ndarray:
        """transformers' logits [N, T, V] of tokens [N, T] without padding."""
        with torch.no_grad():
            return self.reference(torch.from_numpy(tokens).long()).logits.numpy()


@pytest.fixture(scope="session")
def make_case(tmp_path_factory) -> Callable[[str], Case]:
    """Writes and loads the checkpoint of a family, once."""

    @functools.cache
    def make(family: str) -> Case:
        path = tmp_path_factory.mktemp("checkpoints") / family
        write_tiny_checkpoint(path, family, seed=1)
        model, params = load(path)
        reference = AutoModelForCausalLM.from_pretrained(path).eval()
        return Case(path, model, params, reference).with_config(model.config)

    return make


@pytest.fixture(scope="session", params=list(FAMILIES))
def case(request, make_case) -> Case:
    """Every family in turn."""
    return make_case(request.param)


@pytest.fixture(scope="session")
def qwen3(make_case) -> Case:
    """One family, for what all have in common."""
    return make_case("qwen3")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A Qwen3 checkpoint with untied embeddings; tests copy it before changing it."""
    path = tmp_path_factory.mktemp("checkpoints") / "qwen3"
    return write_tiny_checkpoint(path, "qwen3")
