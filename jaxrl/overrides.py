"""From a config file and words of the command line to a `RunConfig`."""

import dataclasses
import difflib
import importlib.util
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import tyro

from jaxrl.config import RunConfig, describe
from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem

HELP = (
    "Fields of the config, with its values as defaults. Functions and the method are "
    "chosen in the file. --resume is short for --checkpoint.resume True."
)


def load(path: Path) -> RunConfig:
    """The variable `config` of a config file.

    The folder that contains `configs/` (or, elsewhere, the file's own) goes first on
    `sys.path`, so that config files can import each other from any directory, and the
    file is imported under the name by which other processes can import it too.
    """
    path = path.resolve()
    _check_file(path)
    folder = next((p for p in path.parents if p.name == "configs"), None)
    root = folder.parent if folder else path.parent
    if str(root) in sys.path:
        sys.path.remove(str(root))
    sys.path.insert(0, str(root))
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    config = _execute(path, name).get("config")
    if not isinstance(config, RunConfig):
        raise UserError(
            f"{path} sets config to {type(config).__name__}; "
            "it must build a jaxrl.config.RunConfig and call it `config`"
        )
    return config


def _check_file(path: Path) -> None:
    if path.is_file() and path.suffix == ".py":
        return
    names = [p.name for p in path.parent.glob("*.py")]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {path.parent / close[0]}?" if close else ""
    problem = "is not a Python file" if path.exists() else "does not exist"
    raise UserError(f"config file {path} {problem}{hint}")


def _execute(path: Path, name: str) -> dict[str, Any]:
    other = sys.modules.get(name)
    taken = name in sys.stdlib_module_names or (
        other is not None and (other.__file__ is None or Path(other.__file__) != path)
    )
    if taken and "." not in name:
        raise UserError(f"{path} has the name of another module; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{error.filename} line {error.lineno}: {error.msg}") from error
    except ImportError as error:
        raise UserError(f"{path} cannot be imported: {error}") from error
    return vars(module)


def override(config: RunConfig, words: Sequence[str], *, prog: str) -> RunConfig:
    """Replace the fields that `words` name, each checked against the field's type.

    A mistyped field ends the process with status 2 and the nearest names; `--help`
    prints every field and ends it with status 0.

    Args:
      config: The defaults; the fields of `data` and `method` are those of its values.
      words: For example `["--method.clip-high", "0.28", "--resume"]`.
      prog: How the program was called, for messages.
    """
    expanded: list[str] = []
    for word in words:
        short = word == "--resume"
        expanded += ["--checkpoint.resume", "True"] if short else [word]
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_problems_rule)
    registry.primitive_rule(_function_rule)
    narrow = _narrowed(config)
    found = tyro.cli(
        narrow,
        default=narrow(**_fields(config)),
        args=expanded,
        prog=prog,
        description=HELP,
        registry=registry,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )
    return RunConfig(**_fields(found))


def _fields(config: RunConfig) -> dict[str, Any]:
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}


def _narrowed(config: RunConfig) -> type[RunConfig]:
    """`RunConfig` whose method has the type of this config's method.

    tyro finds the fields of a default by its type, but not where the annotation is a
    protocol with data members, which cannot be asked for its subclasses.
    """
    return dataclasses.make_dataclass(
        "RunConfig",
        [("method", type(config.method), dataclasses.field(default=config.method))],
        bases=(RunConfig,),
        frozen=True,
        namespace={"__doc__": RunConfig.__doc__, "__module__": RunConfig.__module__},
    )


Spec: TypeAlias = tyro.constructors.PrimitiveConstructorSpec[Any]


def _problems_rule(info: tyro.constructors.PrimitiveTypeInfo) -> Spec | None:
    """A data set in the file can be replaced by the path of a `.jsonl` file."""
    if not _mentions(info.type, Problem):
        return None
    return Spec(
        nargs=1,
        metavar="FILE.jsonl",
        instance_from_str=lambda words: Path(words[0]),
        is_instance=lambda value: True,
        str_from_instance=lambda value: [_shown(value)],
    )


def _function_rule(info: tyro.constructors.PrimitiveTypeInfo) -> Spec | None:
    """A function cannot be written on a command line; its name is shown."""
    if not _mentions(info.type, typing.get_origin(Callable[[], None])):
        return None
    return Spec(
        nargs=1,
        metavar="(function)",
        instance_from_str=_refuse,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [_shown(value)],
    )


def _refuse(words: list[str]) -> Any:
    raise ValueError(f"{words[0]!r}: functions are chosen in the config file")


def _shown(value: Any) -> str:
    described = describe(value)
    names = described if isinstance(described, list) else [described]
    simple = all(isinstance(name, str | None) for name in names)
    return ",".join(map(str, names)) if simple else f"{len(names)} items"


def _mentions(kind: Any, target: Any) -> bool:
    """Whether a type annotation contains a type."""
    parts = (kind, typing.get_origin(kind))
    return target in parts or any(_mentions(a, target) for a in typing.get_args(kind))
