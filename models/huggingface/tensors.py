"""The tensors of a checkpoint directory: memory-mapped, read in slices."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from models.huggingface.errors import CheckpointError
from models.huggingface.fields import read_fields

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a safetensors file.

    Attributes:
      file: The file.
      shape: Its dimensions.
      dtype: Its type in safetensors' spelling, as "BF16".
      read: `indices -> array`, reads only these elements.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[Any], np.ndarray]


def open_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint directory by name; reads headers only."""
    if (path / SINGLE).is_file():
        return _open_file(path / SINGLE)
    if not (path / INDEX).is_file():
        raise CheckpointError(path, f"it holds neither {SINGLE} nor {INDEX}")
    return _open_shards(path)


def _open_shards(path: Path) -> dict[str, Tensor]:
    """The tensors of all files in the index, which has to agree with them."""
    index = read_fields(path / INDEX).object("weight_map").values
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(index.values())):
        for name, tensor in _open_file(path / shard).items():
            if index.get(name) != shard:
                raise CheckpointError(
                    path / shard,
                    f"tensor {name} is here, {INDEX} says {index.get(name)}",
                )
            tensors[name] = tensor
    for name in index.keys() - tensors.keys():
        raise CheckpointError(
            path / index[name], f"tensor {name} is missing, {INDEX} says it is here"
        )
    return tensors


def _open_file(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise CheckpointError(file, f"there is no such file, {INDEX} names it")
    try:
        opened = safe_open(file, framework="np")
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise CheckpointError(
            file,
            f"it is truncated or damaged, {file.stat().st_size:,} bytes ({error})",
        ) from error
    return {
        name: Tensor(file, tuple(s.get_shape()), s.get_dtype(), s.__getitem__)
        for name, s in slices.items()
    }
