"""Fixtures that several test folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tinyml")
    group.addoption("--board", help="board connected to --port, for tests marked hw")
    group.addoption("--port", help="serial port of a board, for tests marked hw")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--port"):
        return
    for item in items:
        if item.get_closest_marker("hw"):
            item.add_marker(pytest.mark.skip(reason="needs a board: --board ID --port PORT"))


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def digits_model() -> Path:
    """The example network that ships with the project."""
    return ROOT / "examples" / "digits" / "digits.tflite"


@pytest.fixture(scope="session")
def digits_data() -> Path:
    """Its held-out images as int8 input `x` [360,8,8,1], with labels `y`."""
    return ROOT / "examples" / "digits" / "digits_test.npz"
