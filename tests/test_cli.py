import subprocess
import sys
import time

import pytest

import jaxrl
from jaxrl import cli
from jaxrl.cli import CRASH, MISTAKE, OK, main
from jaxrl.errors import UserError
from jaxrl.overrides import load, override
from jaxrl.rollout.process import LostError
from jaxrl.rollout.types import Failure

CONFIG = """
from jaxrl.config import MeshConfig, Rollouts, RunConfig
from jaxrl.methods.grpo import Grpo
from jaxrl.rollout.types import Problem


def reward(problem, text):
    return 1.0


problems = [Problem(str(i), "1+1", "2") for i in range(40)]
config = RunConfig("sums", Rollouts(problems, reward), Grpo(), mesh=MeshConfig(fsdp=1))
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A config file in a folder of its own; what it imports is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "sums.py"
    path.write_text(CONFIG)
    known = {*sys.modules}
    yield path
    for name, module in [*sys.modules.items()]:
        if name not in known and str(tmp_path) in str(module):
            del sys.modules[name]


def parsed(path, *words):
    return override(load(path), words, prog="jaxrl train sums.py")


def failure(capsys, call):
    """Exit status and standard error of a call that ends the process."""
    with pytest.raises(SystemExit) as caught:
        call()
    return caught.value.code, capsys.readouterr().err


def test_without_overrides_the_config_is_what_the_file_says(path):
    config = load(path)
    assert override(config, [], prog="x") == config
    assert override(config, [], prog="x").data.reward is config.data.reward


def test_overrides_are_typed_by_the_fields_of_the_default(path):
    found = parsed(
        path,
        *("--optimizer.learning-rate", "2e-6", "--data.samples-per-prompt", "4"),
        *("--data.stop-strings", "a", "b", "--model.dtype", "bfloat16"),
        *("--output", "there", "--data.packed", "True"),
    )
    assert found.optimizer.learning_rate == 2e-6
    assert found.data.samples_per_prompt == 4
    assert found.data.stop_strings == ("a", "b")
    assert found.model.dtype == "bfloat16"
    assert str(found.directory) == "there/sums"
    assert found.data.packed is True


def test_fields_of_the_method_come_from_its_type(path):
    assert parsed(path, "--method.clip-high", "0.28").method.clip_high == 0.28


def test_data_in_the_file_can_be_replaced_by_a_path(path):
    words = ("--data.problems", "a.jsonl", "--evaluation.problems", "b.jsonl")
    found = parsed(path, *words)
    assert str(found.data.problems) == "a.jsonl"
    assert str(found.evaluation.problems) == "b.jsonl"


def test_resume_is_short_for_the_checkpoint_field(path):
    assert parsed(path).checkpoint.resume is False
    assert parsed(path, "--resume", "--seed", "3").checkpoint.resume is True
    assert parsed(path, "--checkpoint.resume", "True").checkpoint.resume is True


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--method.clip-hihg", "0.3"], ["--method.clip-hihg", "--method.clip-high"]),
        (["--optimizer.learning-rat", "1"], ["--optimizer.learning-rate"]),
        (["--steps", "many"], ["--steps", "invalid literal"]),
        (["--model.dtype", "float8"], ["--model.dtype", "bfloat16"]),
        (["--data.reward", "f"], ["functions are chosen in the config file"]),
        (["stray"], ["stray"]),
    ],
)
def test_a_wrong_override_ends_with_status_2_and_says_why(path, capsys, words, texts):
    status, error = failure(capsys, lambda: parsed(path, *words))
    assert status == 2
    for text in texts:
        assert text in error
    assert "Traceback" not in error


def test_help_of_a_config_lists_every_field_with_its_text(path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", str(path), "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert caught.value.code == 0
    for part in (
        *("--method.clip-high FLOAT", "--data.samples-per-prompt INT", "(default: 8)"),
        *(
            "--optimizer.schedule {constant,linear,cosine}",
            "--data.problems FILE.jsonl",
        ),
        *("list of 40", "sums.reward", "Peak.", "--resume is short for"),
    ):
        assert part in text, part
    assert "0x" not in text


def test_configs_import_each_other_from_any_directory(path):
    child = path.with_name("longer.py")
    child.write_text(
        "import dataclasses\n"
        "from configs.sums import config as parent\n"
        "config = dataclasses.replace(parent, steps=7)\n"
    )
    assert load(child).steps == 7


def test_a_config_outside_of_configs_is_loaded_too(path, tmp_path):
    other = tmp_path / "elsewhere" / "my-sums.py"
    other.parent.mkdir()
    other.write_text(CONFIG)
    assert load(other).name == "sums"


def test_functions_of_a_config_can_be_found_by_other_processes(path):
    reward = load(path).data.reward
    assert reward.__module__ == "configs.sums"
    assert sys.modules["configs.sums"].reward is reward


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sum.py", None, r"sum\.py does not exist; did you mean .*sums\.py"),
        ("zzzzzzzz.py", None, r"zzzzzzzz\.py does not exist$"),
        ("a.yaml", "a: 1", "is not a Python file"),
        ("a.py", "x = 1", "sets config to NoneType; it must build"),
        ("a.py", "x = = 1", "line 1: invalid syntax"),
        ("a.py", "import not_there_at_all", "cannot be imported: No module named"),
    ],
)
def test_a_config_that_cannot_be_loaded_is_a_clear_error(path, name, text, message):
    if text is not None:
        path.with_name(name).write_text(text)
    with pytest.raises(UserError, match=message):
        load(path.with_name(name))


def test_a_config_with_the_name_of_a_module_is_refused(path, tmp_path):
    (tmp_path / "random.py").write_text(CONFIG)
    with pytest.raises(UserError, match=r"random\.py has the name of another module"):
        load(tmp_path / "random.py")


def run(*words, cwd):
    """Standard output, standard error and status of the program."""
    done = subprocess.run(
        [sys.executable, "-m", "jaxrl", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    return done.stdout, done.stderr, done.returncode


def test_a_mistake_is_one_line_and_status_2(path, tmp_path):
    out, error, status = run(
        *("train", "configs/sums.py", "--data.problems", "none.jsonl"),
        *("--model.path", "configs"),
        cwd=tmp_path,
    )
    assert status == 2
    assert out == ""
    assert error.startswith("jaxrl: error: ")
    assert "none.jsonl, which is not a file" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "sums.py"], "--checkpoint"),
        (["sample", "nowhere"], "--prompt"),
        (["export", "runs/x"], "OUT_DIR"),
        (["export", "a", "b", "c"], "unrecognized arguments: c"),
        (["trian", "sums.py"], "invalid choice"),
        (["sample", "x", "--prompt", "y", "--temprature", "1"], "--temprature"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_call_ends_with_status_2(capsys, words, message):
    status, error = failure(capsys, lambda: main(words))
    assert status == 2
    assert message in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "nowhere", "--prompt", "x"], "checkpoint is nowhere, which is not"),
        (["sample", ".", "--prompt", "x", "--top-p", "0"], "top_p is 0; give more"),
        (["export", "nowhere", "there"], "RUN_DIR is nowhere, which is not a dir"),
        (["train", "nowhere.py"], "nowhere.py does not exist"),
        (["evaluate", "nowhere.py", "--checkpoint", "."], "nowhere.py does not exist"),
    ],
)
def test_commands_report_what_is_missing(capsys, words, message):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxrl: error: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_evaluate_takes_overrides_around_its_own_options(path, capsys):
    words = ["evaluate", str(path), "--seed", "3", "--checkpoint", str(path.parent)]
    assert main([*words, "--samples", "4", "--evaluation.limit", "-1"]) == 2
    assert "evaluation.problems is None" in capsys.readouterr().err
    status, error = failure(capsys, lambda: main([*words, "--sede", "4"]))
    assert status == 2
    assert "--seed" in error


@pytest.mark.parametrize(
    "command",
    [
        *([], ["train"], ["evaluate"], ["sample"], ["serve"], ["export"]),
        ["quickstart"],
    ],
)
def test_every_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == OK
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_help_imports_nothing_heavy_and_answers_at_once(tmp_path):
    code = (
        "import sys; import jaxrl.cli\n"
        "try: jaxrl.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'tyro', 'flax', 'torch'} & {*sys.modules}"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.monotonic() - began < 5  # a loaded machine; alone it takes 0.1 s


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"jaxrl {jaxrl.__version__}\n"


def test_an_error_that_is_not_ours_keeps_its_traceback(path, monkeypatch):
    path.write_text("class Broken(ValueError): pass\nraise Broken('bug')")
    with pytest.raises(ValueError, match="bug"):
        main(["train", str(path)])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("steps is 0"), MISTAKE),
        (LostError(Failure("crash", "the worker ended")), CRASH),
        (ValueError("not of ours"), CRASH),
    ],
    ids=lambda case: type(case).__name__,
)
def test_only_mistakes_of_users_lose_their_traceback(error, status, capsys):
    assert cli._status(error) == status
    assert ("jaxrl: error:" in capsys.readouterr().err) == (status == MISTAKE)


def test_an_interrupt_ends_with_status_130(path, capsys):
    path.write_text("raise KeyboardInterrupt")
    assert main(["train", str(path)]) == 130
    assert "--resume" in capsys.readouterr().err
