"""The one error that a checkpoint directory can cause."""

from pathlib import Path

from models.huggingface.families import FAMILIES

SUPPORTED = ", ".join(f"{f.architecture} ({f.members})" for f in FAMILIES)


class CheckpointError(ValueError):
    """A checkpoint cannot be read or written; says where, what is wrong, what works.

    >>> str(CheckpointError(Path("model"), "there is no such directory"))[:34]
    'model: there is no such directory.'
    """

    def __init__(self, path: Path, problem: str):
        super().__init__(
            f"{path}: {problem}. Supported are safetensors checkpoints of {SUPPORTED}."
        )
