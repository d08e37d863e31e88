"""Configs as a new process would import them."""

import sys

import pytest

VARIABLES = (
    *("MODEL_DIR", "GSM8K_DIR", "SMALL_SQL_DIR", "TEACHER_DIR", "TEACHER_URL"),
    *("BIRD_DIR", "SPIDER_DIR"),
)


@pytest.fixture(autouse=True)
def fresh_imports(monkeypatch):
    """Configs read the environment when they are imported."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    forget_configs()
    yield
    forget_configs()


def forget_configs():
    for name in [name for name in sys.modules if name.split(".")[0] == "configs"]:
        del sys.modules[name]
