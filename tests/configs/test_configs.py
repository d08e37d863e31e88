"""Every experiment loads, explains itself, and is right but for data it lacks."""

import json
from pathlib import Path

import pytest

from jaxrl.config import Demonstrations, Rollouts
from jaxrl.errors import UserError
from jaxrl.overrides import load, override
from jaxrl.validate import validate

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.rglob("*.py"))
METHODS = FOLDER / "sums"
NEEDS_DATA = [
    *("grpo_gsm8k_qwen3", "opd_gsm8k_qwen3", "sft_warmup"),
    *("trust_sql", "trust_sql_added", "trust_sql_grpo", "trust_sql_warmup"),
    "trust_sql_qwen3",
]

pytestmark = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A checkpoint directory and files of data, where the configs look for them."""
    (tmp_path / "config.json").write_text("{}")
    row = json.dumps({"question": "1+1?", "answer": "1+1 is 2.\n#### 2"})
    for name in ("train.jsonl", "test.jsonl", "demonstrations.jsonl"):
        (tmp_path / name).write_text(f"{row}\n" * 3)
    asked = [{"db_id": name, "question": "?", "SQL": "SELECT 1"} for name in "ab"]
    for name in ("train.json", "train_tables.json"):
        (tmp_path / name).write_text(json.dumps(asked))
    for name in "ab":
        (tmp_path / "train_databases" / name).mkdir(parents=True)
        (tmp_path / "train_databases" / name / f"{name}.sqlite").touch()
    for name in ("MODEL_DIR", "GSM8K_DIR", "SMALL_SQL_DIR", "BIRD_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def mistakes(config):
    """What the checks say about a config."""
    try:
        validate(config)
    except UserError as error:
        lines = str(error).splitlines()
        return lines[1:] if len(lines) > 1 else lines
    return []


def test_only_data_is_missing(path):
    for mistake in mistakes(load(path)):
        assert "which is not a file" in mistake or "not a directory" in mistake, mistake


def test_with_its_data_a_config_has_no_mistake(path, files):
    words = ["--model.path", str(files)]
    if load(path).model.teacher_path is not None:
        words += ["--model.teacher-path", str(files)]
    config = override(load(path), words, prog="x")
    assert mistakes(config) == []


def test_the_header_says_what_how_on_what_and_what_to_expect(path):
    header = path.read_text().split('"""')[1]
    command = f"jaxrl train {path.relative_to(FOLDER.parent)}"
    command = {"quickstart": "quickstart", "warmup": "--prepare"}.get(
        path.stem, command
    )
    for part in (command, "Paper:", "Hardware:", "Expected:"):
        assert part in header, f"{path.name}: the header lacks {part}"


def test_the_run_is_named_after_the_file(path):
    assert load(path).name == path.stem


def test_help_names_every_field_of_the_method(path, capsys):
    config = load(path)
    with pytest.raises(SystemExit) as caught:
        override(config, ["--help"], prog="jaxrl train")
    assert caught.value.code == 0
    assert "--optimizer.learning-rate" in capsys.readouterr().out


def test_the_table_of_experiments_lists_the_file(path):
    name = f"sums/{path.stem}" if path.parent == METHODS else path.name
    assert f"`{name}`" in (FOLDER / "README.md").read_text()


def test_held_out_problems_are_not_trained_on(path, files):
    config = load(path)
    if isinstance(config.evaluation.problems, Path) or path.stem in NEEDS_DATA:
        pytest.skip("they come from files of the user")
    assert isinstance(config.data, Rollouts | Demonstrations)
    # A colon only asks to be careful: the sum behind it is the same.
    trained = {str(problem.prompt).lstrip(":") for problem in config.data.problems}
    held_out = {str(problem.prompt) for problem in config.evaluation.problems or ()}
    assert not trained & held_out
