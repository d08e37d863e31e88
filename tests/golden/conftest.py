"""Which golden vectors are walked: those of the project, or `--golden DIR`."""

from pathlib import Path

from tests.golden.cases import cases_in

COMMITTED = Path(__file__).parent / "vectors"


def pytest_addoption(parser):
    """Let `pytest tests/golden --golden DIR` walk another directory."""
    parser.addoption("--golden", type=Path, default=COMMITTED, metavar="DIR")


def pytest_generate_tests(metafunc):
    """One test per case of every `*.npz` file."""
    if "case" in metafunc.fixturenames:
        # A run over all of tests/ reads this file too late to parse the option.
        directory = metafunc.config.getoption("--golden", COMMITTED)
        metafunc.parametrize("case", cases_in(directory), ids=str)
