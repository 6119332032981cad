"""The wheel works outside the checkout, carries all its data and squats no other name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="built without network, so with the installed hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel and, by a path file, this one's dependencies."""
    folder = tmp_path_factory.mktemp("venv") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "-q", wheel, cwd=folder)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", code, cwd=folder).strip())
    ours = Path(run(sys.executable, "-c", code, cwd=folder).strip())
    # site-packages of the wheel come first, and an editable install's own .pth file is not followed.
    (site / "dependencies.pth").write_text(f"{ours}\n")
    return folder / "bin"


def test_only_our_name_is_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"tinyml"}


def test_all_data_is_in_the_wheel(wheel: Path) -> None:
    tracked = run("git", "ls-files", "codegen", "runtime_c", "boards", cwd=ROOT).splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert [path for path in tracked if f"tinyml/_data/{path}" not in names] == []
    assert "tinyml/py.typed" in names


def test_it_is_the_installed_package_that_runs(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import tinyml; print(tinyml.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_boards_and_plan_work_outside_the_checkout(
    installed: Path, tmp_path: Path, digits_model: Path
) -> None:
    boards = json.loads(run(installed / "tinyml", "boards", "--json", cwd=tmp_path))["boards"]
    assert {path.stem for path in (ROOT / "boards").glob("*.json")} == {board["id"] for board in boards}
    plan = json.loads(
        run(installed / "tinyml", "plan", "--json", "--board", "stm32f746", digits_model, cwd=tmp_path)
    )
    assert 0 < plan["arena_bytes"] <= 4608


def test_generate_works_outside_the_checkout(installed: Path, tmp_path: Path, digits_model: Path) -> None:
    run(installed / "tinyml", "generate", "--board", "stm32f746", "-o", "out", digits_model, cwd=tmp_path)
    assert (tmp_path / "out" / "platformio.ini").is_file()
    assert (tmp_path / "out" / "lib" / "digits" / "src" / "digits.c").is_file()
