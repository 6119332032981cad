"""The toy model as a process, as a shared library's project, and as firmware."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.run import pushed, toy
from tinyml import boards, resources
from tinyml.run.host import build_host_program
from tinyml.toolchain import gcc


@pytest.fixture(scope="session")
def toy_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware's link with the toy model as a process, under AddressSanitizer and UBSan."""
    out = tmp_path_factory.mktemp("toy") / "toy"
    return build_host_program([toy.MODEL / "toy.c"], [toy.MODEL], out, sanitize=True)


@pytest.fixture(scope="session")
def pushed_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the model whose image is pushed row by row."""
    out = tmp_path_factory.mktemp("pushed") / "pushed"
    return build_host_program([pushed.MODEL / "pushed.c"], [pushed.MODEL], out, sanitize=True)


def make_project(project: Path, name: str, model: Path) -> Path:
    """Lay out a hand-written model as the generator does it."""
    runtime = resources.runtime_dir()
    shutil.copytree(model, project / "lib" / name / "src")
    shutil.copy(runtime / "include" / "tm_model.h", project / "lib" / name / "src")
    shutil.copytree(runtime / "port", project / "lib" / "tinyml_board" / "src")
    (project / "src").mkdir()
    (project / "lib" / "tinyml_board" / "src" / "main.c").rename(project / "src" / "main.c")
    return project


@pytest.fixture(scope="session")
def toy_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the toy model."""
    return make_project(tmp_path_factory.mktemp("toy_project"), "toy", toy.MODEL)


@pytest.fixture(scope="session")
def pushed_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the model whose image is pushed row by row."""
    return make_project(tmp_path_factory.mktemp("pushed_project"), "pushed", pushed.MODEL)


@pytest.fixture(scope="session", params=["mps2-an386", "mps2-an500"])
def toy_firmware(request: pytest.FixtureRequest, toy_project: Path) -> tuple[boards.Board, Path]:
    """(emulated board, ELF file) of the toy model."""
    board = boards.load(request.param)
    return board, gcc.build(toy_project, board, defines=["TM_TRACE=1"]).elf
