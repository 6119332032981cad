"""What people mistype, and what their machines refuse: one clear error each, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tinyml.cli.app import cli
from tinyml.errors import UsageError
from tinyml.files import write_file

ROOT = Path(__file__).resolve().parents[2]
MANY = "9" * 5000
LONG = "a" * 400


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in arguments])


def refused(result: Result, *said: str) -> None:
    """One error on stderr: what it is about, and no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ") or "\nerror: " in result.stderr
    assert "Traceback" not in result.stderr
    for words in said:
        assert words in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("boards", "--min-ram", "²"),
        ("boards", "--min-ram", MANY),
        ("plan", "--board", "host", "--max-sram", MANY, "MODEL"),
        ("plan", "--board", "host", "--max-sram", "٣", "MODEL"),
        ("plan", "--board", "host", "--max-overhead", MANY, "MODEL"),
        ("plan", "--board", "host", "--schedule", f"patch:2x2@{MANY}", "MODEL"),
        ("plan", "--board", LONG, "MODEL"),
        ("plan", "--board", "host" + "_twin" * 3000, "MODEL"),
        ("plan", "--board", "/dev/zero", "MODEL"),
        ("inspect", "/dev/zero"),
        ("inspect", LONG),
        ("verify", "--board", "stm32f746", "--port", "", "MODEL"),
    ],
    ids=lambda words: "-".join(words)[:40],
)
def test_an_argument_that_makes_no_sense(arguments: tuple[str, ...], digits_model: Path) -> None:
    refused(invoke(*(digits_model if word == "MODEL" else word for word in arguments)))


def test_a_limit_of_the_users_own_is_not_the_boards(digits_model: Path) -> None:
    result = invoke("plan", "--board", "mps2-an386", "--max-sram", "1K", "--no-draw", digits_model)
    refused(result, "expected at most 1,024 B (--max-sram)", "or allow --max-sram ")
    assert "it would fit" not in result.stderr
    sizes = [int(word) for word in result.stderr.split("allow --max-sram ")[1].split()[:1]]
    assert invoke("plan", "--board", "mps2-an386", "--max-sram", sizes[0], digits_model).exit_code == 0


@pytest.mark.parametrize("target", ["file/x.html", f"{LONG}.html"], ids=["no folder", "long"])
def test_a_page_that_cannot_be_written(target: str, digits_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(invoke("plan", "--board", "host", "--html", tmp_path / target, digits_model), "--html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "new" / "page"
    write_file(page, b"one", option="-o")
    link = tmp_path / "link"
    link.symlink_to(page)
    write_file(link, b"two", option="-o")
    assert link.is_symlink()
    assert page.read_bytes() == b"two"
    assert stat.S_IMODE(page.stat().st_mode) == 0o644

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="cannot write"):
        write_file(page, b"three", option="-o")
    assert [path.name for path in page.parent.iterdir()] == ["page"]
    assert page.read_bytes() == b"two"


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    write_file(pipe, b"page", option="--html")
    assert reader.communicate()[0] == b"page"
    assert pipe.is_fifo()


def npy_of(shape: str) -> bytes:
    """An array file whose header promises a shape, and that holds nothing."""
    header = f"{{'descr': '|i1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def test_samples_that_promise_too_much(digits_model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy_of("(1000000000000, 8, 8, 1)"))
    refused(invoke("run", "--board", "host", "--input", tmp_path / "x.npy", digits_model), "cannot be read")


def test_samples_in_an_encrypted_archive(digits_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((1, 8, 8, 1), np.int8))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    for flags in (6, directory + 8):  # of the file, and of its entry in the directory
        content[flags] |= 1
    path.write_bytes(content)
    refused(invoke("verify", "--board", "host", "--data", path, digits_model), "encrypted")


def test_a_label_without_an_axis(digits_model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 8, 8, 1), np.int8), y=np.int64(3))
    refused(invoke("verify", "--board", "host", "--data", tmp_path / "x.npz", digits_model), "labels `y`")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("OSError(24, 'Too many open files')", "Too many open files"),
        ("PermissionError(13, 'Permission denied', '/x')", "Permission denied"),
        ("MemoryError()", "not enough memory"),
    ],
)
def test_what_the_machine_refuses_is_no_bug(
    raised: str, said: str, digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tinyml.passes

    def refuse(*_: object, **__: object) -> None:
        raise eval(raised)

    monkeypatch.setattr(tinyml.passes, "run", refuse)
    refused(invoke("plan", "--board", "host", digits_model), said)


def test_a_folder_that_is_gone(digits_model: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "os.rmdir(os.getcwd())\n"
        "from tinyml.cli.app import main\n"
        f"sys.argv = ['tinyml', 'generate', '--board', 'host', {str(digits_model)!r}]\n"
        "main()"
    )
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "gone",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: the current folder no longer exists")


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinyml", "boards", "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["boards"]
