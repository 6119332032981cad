"""The toy model as a process, as a shared library's project, and as firmware."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.run import toy
from tinyml import boards, resources
from tinyml.run.host import build_host_program
from tinyml.toolchain import gcc


@pytest.fixture(scope="session")
def toy_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware's link with the toy model as a process, under AddressSanitizer and UBSan."""
    out = tmp_path_factory.mktemp("toy") / "toy"
    return build_host_program([toy.MODEL / "toy.c"], [toy.MODEL], out, sanitize=True)


@pytest.fixture(scope="session")
def toy_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the toy model, laid out as the generator does it."""
    project = tmp_path_factory.mktemp("toy_project")
    runtime = resources.runtime_dir()
    shutil.copytree(toy.MODEL, project / "lib" / "toy" / "src")
    shutil.copy(runtime / "include" / "tm_model.h", project / "lib" / "toy" / "src")
    shutil.copytree(runtime / "port", project / "lib" / "tinyml_board" / "src")
    (project / "src").mkdir()
    (project / "lib" / "tinyml_board" / "src" / "main.c").rename(project / "src" / "main.c")
    return project


@pytest.fixture(scope="session", params=["mps2-an386", "mps2-an500"])
def toy_firmware(request: pytest.FixtureRequest, toy_project: Path) -> tuple[boards.Board, Path]:
    """(emulated board, ELF file) of the toy model."""
    board = boards.load(request.param)
    return board, gcc.build(toy_project, board, defines=["TM_TRACE=1"]).elf
