"""Nothing half-written, nothing of someone else's overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyml.cli.destination import MANIFEST, staged
from tinyml.errors import UsageError


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def write(destination: Path, files: dict[str, str], *, force: bool = False) -> None:
    with staged(destination, force=force) as folder:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


def fail_half_way(destination: Path) -> None:
    with staged(destination, force=False) as folder:
        (folder / "x").write_text("half")
        raise RuntimeError


def test_a_new_folder_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", {"x": "1", "src/y": "2"})
    assert tree(tmp_path) == {"a/b/src/y": "2", "a/b/x": "1"}
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail_half_way(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_project_before_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "out", {"x": "1"})
    with pytest.raises(RuntimeError):
        fail_half_way(tmp_path / "out")
    assert tree(tmp_path) == {"out/x": "1"}


def test_a_project_is_replaced_but_what_someone_added_stays(tmp_path: Path) -> None:
    write(tmp_path / "out", {"x": "1", "stale": "1", "src/z": "1"})
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write(tmp_path / "out", {"x": "2", "src/y": "2"})
    assert tree(tmp_path / "out") == {"x": "2", "src/y": "2", "notes.txt": "mine"}


def test_the_build_folder_does_not_travel(tmp_path: Path) -> None:
    left_behind = {".pio/build/x.o": "with absolute paths", "platforms/__pycache__/y.pyc": "too"}
    write(tmp_path / "out", {"x": "1", **left_behind})
    assert tree(tmp_path / "out") == {"x": "1"}


def test_someone_elses_folder_needs_force(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError) as caught:
        write(tmp_path, {"x": "1"})
    assert "--force" in caught.value.hint
    assert tree(tmp_path) == {"thesis.tex": "years of work"}
    write(tmp_path, {"x": "1"}, force=True)
    assert tree(tmp_path) == {"thesis.tex": "years of work", "x": "1"}


def test_an_empty_folder_needs_no_force(tmp_path: Path) -> None:
    write(tmp_path, {"x": "1"})
    assert tree(tmp_path) == {"x": "1"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError):
        write(tmp_path / "out", {"x": "1"}, force=True)
    assert (tmp_path / "out").read_text() == "a file"


def test_a_damaged_list_reaches_no_file_outside(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("1")
    write(tmp_path / "out", {"x": "1"})
    (tmp_path / "out" / MANIFEST).write_text('{"files": ["../precious", "x"]}')
    write(tmp_path / "out", {"y": "1"})
    assert tree(tmp_path) == {"precious": "1", "out/y": "1"}
