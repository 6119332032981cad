from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tinyml import resources

# Files of runtime_c/port that belong to the link, not to the board.
LINK = ("main.c", "tm_link.c", "tm_link.h")


def make_project(folder: Path) -> Path:
    """Write a project whose program is echo_main.c: the port and nothing else."""
    port = folder / "lib" / "tinyml_board"
    (folder / "src").mkdir(parents=True)
    (folder / "include").mkdir()
    (port / "src").mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "echo_main.c", folder / "src" / "main.c")
    source = resources.runtime_dir() / "port"
    shutil.copy(source / "library.json", port)
    for file in [*source.glob("*.c"), *source.glob("*.h")]:
        if file.name not in LINK:
            shutil.copy(file, port / "src")
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("port") / "echo")
