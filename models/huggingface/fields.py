"""Typed reading of a JSON object, with errors that name the file and the field."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.huggingface.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class Fields:
    """A JSON object and the file it is from; null is the same as absent."""

    file: Path
    values: Mapping[str, Any]

    def size(self, name: str, default: int | None = None) -> int:
        """A positive integer; required where there is no default."""
        value = self._value(name, default)
        if type(value) is not int or value < 1:
            raise self.unexpected(name, "a positive integer")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A positive number; required where there is no default."""
        value = self._value(name, default)
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise self.unexpected(name, "a positive number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or False; False where absent."""
        value = self._value(name, False)
        if type(value) is not bool:
            raise self.unexpected(name, "true or false")
        return value

    def object(self, name: str) -> "Fields":
        """A nested object; empty where absent."""
        value = self._value(name, {})
        if type(value) is not dict:
            raise self.unexpected(name, "an object")
        return Fields(self.file, value)

    def unexpected(self, name: str, expected: str) -> CheckpointError:
        """The error that a field is not what it has to be."""
        found = json.dumps(self.values[name]) if name in self.values else "absent"
        return CheckpointError(self.file, f"{name} is {found}, expected {expected}")

    def _value(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        return default if value is None else value


def read_fields(file: Path) -> Fields:
    """The JSON object in a file of a checkpoint directory."""
    if not file.parent.is_dir():
        raise CheckpointError(file.parent, "there is no such directory")
    if not file.is_file():
        raise CheckpointError(file, "there is no such file")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(file, f"it is not JSON: {error}") from error
    if type(values) is not dict:
        raise CheckpointError(file, "it holds no JSON object")
    return Fields(file, values)
