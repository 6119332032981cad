"""Template values → a C project on disk that stands alone.

DIR/lib/<model>/src/   the model and only the kernels it uses: a library for any firmware
DIR/src/               the validation firmware: harness, serial protocol, start-up
DIR/platformio.ini     how PlatformIO builds it; boards/ and platforms/ make that self-contained
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tinyml import resources
from tinyml.boards import Board
from tinyml.emit.context import ModelContext
from tinyml.emit.render import render

_DRIVER_GUARD = re.compile(r"^#if (defined\(TM_(?:CLOCK|UART)_.*)$", re.MULTILINE)
_INCLUDE = re.compile(r'^#include "(tm_\w+\.h)"', re.MULTILINE)


def write_library(model: ModelContext, directory: Path) -> list[Path]:
    """Write the model as a C library below `directory`/lib/<model>.

    Returns:
        The files written.
    """
    library = directory / "lib" / model.name
    source = library / "src"
    source.mkdir(parents=True, exist_ok=True)
    texts = {
        library / "library.json": render("project/library.json.j2", {"model": model}),
        library / "library.properties": render("project/library.properties.j2", {"model": model}),
        source / f"{model.name}.h": render("model.h.j2", {"model": model}),
        source / f"{model.name}.c": render("model.c.j2", {"model": model}),
        source / f"{model.name}_weights.h": render("weights.h.j2", {"model": model}),
        source / f"{model.name}_weights.c": render("weights.c.j2", {"model": model}),
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    written = list(texts)
    for header in _runtime_headers(model):
        written.append(Path(shutil.copy(header, source / header.name)))
    return written


def _runtime_headers(model: ModelContext) -> list[Path]:
    """Return the runtime headers that the model's files include, directly or not."""
    runtime = resources.runtime_dir()
    wanted = ["tm_model.h", "tm_float.h", "tm_runtime.h", *(f"{kernel}.h" for kernel in model.kernels)]
    found: dict[str, Path] = {}
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        path = next(p for p in (runtime / "kernels" / name, runtime / "include" / name) if p.is_file())
        found[name] = path
        wanted.extend(_INCLUDE.findall(path.read_text(encoding="utf-8")))
    return [found[name] for name in sorted(found)]


def write_project(model: ModelContext, board: Board, directory: Path) -> list[Path]:
    """Write the validation firmware around the model: harness, board support, PlatformIO files.

    Args:
        model: template values.
        board: a board with flash and RAM of its own (not the host).
        directory: the project; `write_library` has been there.

    Returns:
        The files written.
    """
    twin = board.emulated()
    if twin is not None and twin.id == board.id:
        twin = None
    boards = [one for one in (board, twin) if one is not None]
    values = {"model": model, "board": board, "twin": twin}
    runtime = resources.runtime_dir()
    texts = {
        directory / "platformio.ini": render("project/platformio.ini.j2", values),
        directory / "README.md": render("project/README.md.j2", values),
        directory / "src" / "app_model.h": render("project/app_model.h.j2", values),
    }
    for one in boards:
        texts[directory / "boards" / f"{one.id}.json"] = json.dumps(one.manifest, indent=2) + "\n"
    written = []
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    support = directory / "lib" / "tinyml_board"
    for source in sorted((runtime / "port").iterdir()):
        if not _concerns(source, boards):
            continue
        if source.name == "main.c":
            target = directory / "src" / source.name
        else:
            target = support / source.name if source.suffix == ".json" else support / "src" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        written.append(Path(shutil.copy(source, target)))
    shutil.copy(runtime / "include" / "tm_model.h", support / "src" / "tm_model.h")
    written.append(support / "src" / "tm_model.h")
    platform = directory / "platforms" / "tinyml"
    shutil.copytree(
        runtime / "platformio", platform, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    written.extend(sorted(path for path in platform.rglob("*") if path.is_file()))
    return written


def _concerns(source: Path, boards: Sequence[Board]) -> bool:
    """Whether a file of runtime_c/port is for these boards: a driver opens with an #if that names its own."""
    guard = _DRIVER_GUARD.search(source.read_text(encoding="utf-8"))
    if guard is None or not source.name.startswith(("clock_", "uart_", "rp2040_")):
        return True
    macros = {f"TM_CLOCK_{board.manifest['tinyml']['clock']['family']}".upper() for board in boards}
    macros |= {f"TM_UART_{board.uart.kind}".upper() for board in boards if board.uart is not None}
    return not macros.isdisjoint(re.findall(r"TM_\w+", guard[1]))
