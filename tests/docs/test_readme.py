"""The commands and code of the README, docs/memory.md and docs/quantize.md, executed as they stand."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRY = "from tinyml.cli.app import main; main()"  # what the installed `tinyml` does
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEMORY = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
QUANTIZE = (ROOT / "docs" / "quantize.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def run_commands(folder: Path, block: str) -> str:
    """Run a block's commands in a folder with the examples, one after the other; return what they print."""
    (folder / "examples").symlink_to(ROOT / "examples")
    commands = folder / "bin"
    commands.mkdir()
    script = commands / "tinyml"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{ENTRY}' \"$@\"\n")
    script.chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{commands}:{os.environ['PATH']}"}
    log = []
    for command in block.splitlines():
        done = subprocess.run(
            ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        log.append(f"$ {command}\n{done.stdout}")
    return "\n".join(log)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart was followed."""
    folder = tmp_path_factory.mktemp("quickstart")
    (quickstart,) = blocks("sh")
    (folder / "log.txt").write_text(run_commands(folder, quickstart))
    return folder


def test_the_quickstart_does_what_the_text_says(workplace: Path) -> None:
    log = (workplace / "log.txt").read_text()
    assert (workplace / "firmware" / "firmware.elf").is_file()
    assert (workplace / "firmware" / "platformio.ini").is_file()
    # The text below the block: verify compares, and counts correct answers where there are labels.
    assert "355 of 360" in log


def test_the_commands_of_the_memory_page_show_what_it_says(tmp_path: Path) -> None:
    (commands,) = blocks("sh", MEMORY)
    log = run_commands(tmp_path, commands)
    assert "▼" in log
    assert "live at the peak" in log
    assert "═ streamed row by row" in log
    assert "<polygon" in (tmp_path / "plan.html").read_text(encoding="utf-8")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None and not os.environ.get("CI"),
    reason="TensorFlow is not installed: pip install -e '.[quantize]'",
)
def test_the_commands_of_the_quantisation_page(tmp_path: Path) -> None:
    (training,) = blocks("python", QUANTIZE)
    (commands,) = blocks("sh", QUANTIZE)
    (tmp_path / "train.py").write_text(training)
    log = run_commands(tmp_path, f"{sys.executable} train.py\n{commands}")
    assert "accuracy   float" in log
    assert "every output byte of 80 samples equals TensorFlow Lite's" in log


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_the_c_code_classifies_digits(
    workplace: Path, compiler: str, digits_data: Path, tmp_path: Path
) -> None:
    """Compiled beside lib/digits for the host, as C and as C++, and run on real digits."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    data = np.load(digits_data)
    images = (data["x"][:20].reshape(20, 64).astype(np.float64) + 128) / 255
    values = ",".join(f"{value:.6f}f" for value in images.ravel())
    (code,) = blocks("c")
    main = tmp_path / ("main.c" if compiler == "gcc" else "main.cpp")
    main.write_text(
        f"{code}\n#include <stdio.h>\nstatic const float images[20 * 64] = {{{values}}};\n"
        "int main(void)\n{\n    for (int i = 0; i < 20; ++i)\n"
        '        printf("%d\\n", classify(images + 64 * i));\n    return 0;\n}\n'
    )
    project = tmp_path / "host"
    subprocess.run(
        [
            sys.executable, "-c", ENTRY, "generate", "-q",
            "--board", "host", "-o", str(project), str(ROOT / "examples" / "digits" / "digits.tflite"),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )  # fmt: skip
    library = project / "lib" / "digits" / "src"
    objects = []
    for source in sorted(library.glob("*.c")):
        objects.append(tmp_path / f"{source.stem}.o")
        subprocess.run(["gcc", "-std=c11", "-O1", "-c", source, "-o", objects[-1]], check=True)
    program = tmp_path / "classify"
    subprocess.run(
        [compiler, "-O1", "-Wall", "-Wextra", "-Werror", f"-I{library}", main, *objects, "-o", program],
        check=True,
    )
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    right = sum(int(a) == b for a, b in zip(done.stdout.split(), data["y"][:20], strict=True))
    assert right >= 19


def test_links_point_at_files() -> None:
    for page in [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted(ROOT.glob("examples/*/*.md")),
    ]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", ["architecture.md", "memory.md", "quantize.md"])
def test_pages_name_files_that_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:tinyml|tests|runtime_c|codegen|boards|docs|tools)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
