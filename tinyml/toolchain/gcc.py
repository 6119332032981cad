"""Builds without PlatformIO: arm-none-eabi-gcc for boards, the host's compiler for this computer.

The flags, linker script and board_config.h come from `runtime_c/platformio/board_files.py`, which the
PlatformIO platform uses too, so both ways give the same code.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tinyml import resources
from tinyml.boards import Board
from tinyml.errors import DoesNotFit, ToolchainError
from tinyml.toolchain.programs import ARM_GCC_INSTALL, HOST_GCC_INSTALL, require
from tinyml.toolchain.result import BuildResult, Progress, publish

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")


def _platform_module(name: str) -> Any:
    """Load a stand-alone script of the PlatformIO platform, which is data, not part of this package."""
    path = resources.runtime_dir() / "platformio" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"tinyml_platform_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(command: Sequence[str], cwd: Path, doing: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    output = done.stdout + done.stderr
    if done.returncode != 0:
        raise failure(doing, output)
    return output


def failure(doing: str, output: str) -> ToolchainError | DoesNotFit:
    """Turn a compiler's or linker's output into the error a user needs."""
    if overflow := re.findall(r"region [`']?(\w+)'? overflowed by (\d+) bytes", output):
        parts = ", ".join(f"{region} by {size} bytes" for region, size in overflow)
        return DoesNotFit(
            f"the firmware is larger than the board: it overflows {parts}",
            where=doing,
            hint="take a smaller model or a board with more memory (`tinyml boards`)",
        )
    errors = [line for line in output.splitlines() if re.search(r"\berror\b|undefined reference", line)]
    return ToolchainError(
        f"{doing} failed",
        where=errors[0].strip() if errors else "",
        expected="\n  ".join(output.splitlines()[-20:]),
    )


def _sources(project: Path) -> list[Path]:
    """Return the project's C files relative to it, libraries first: the order PlatformIO links in."""
    folders = [*sorted((project / "lib").glob("*/src")), project / "src"]
    return [f.relative_to(project) for folder in folders for f in sorted(folder.rglob("*.c"))]


def build(
    project_dir: Path,
    board: Board,
    progress: Progress | None = None,
    *,
    defines: Iterable[str] = (),
    name: str | None = None,
) -> BuildResult:
    """Compile and link a generated project for a board (or a twin) with arm-none-eabi-gcc.

    Args:
        project_dir: the project; its src/, include/ and lib/*/src are used.
        board: what to build for.
        progress: told one line per step.
        defines: macros such as "TM_TRACE=1".
        name: folder under project_dir/build for the result; the board's id where absent.

    Raises:
        ToolchainError: the compiler is missing, or refuses a file.
        DoesNotFit: the linker finds a memory too small.
    """
    if board.is_host:
        raise ToolchainError("a firmware cannot be built for the host", hint="use build_host()")
    project = project_dir.resolve()
    report = progress or (lambda line: None)
    gcc = require("arm-none-eabi-gcc", ARM_GCC_INSTALL)
    objcopy = require("arm-none-eabi-objcopy", ARM_GCC_INSTALL)
    files = _platform_module("board_files")
    sources = _sources(project)
    if not sources:
        raise ToolchainError("there is nothing to compile", where=f"{project}/src and {project}/lib/*/src")
    with tempfile.TemporaryDirectory(prefix="tinyml-build-") as scratch:
        out = Path(scratch)
        files.write_files(board.id, board.manifest, out)
        includes = [project / "include", out, *sorted((project / "lib").glob("*/src"))]
        flags = [
            *files.compiler_flags(board.manifest, project),
            f"-ffile-prefix-map={out}=build",
            *files.CFLAGS,
            *WARNINGS,
            *(f"-D{d}" for d in defines),
            *(
                f"-I{i.relative_to(project) if i.is_relative_to(project) else i}"
                for i in includes
                if i.is_dir()
            ),
        ]

        def compile_one(source: Path) -> tuple[Path, str]:
            target = out / (str(source).replace("/", "_") + ".o")
            report(f"compile {source}")
            text = _run([gcc, *flags, "-c", str(source), "-o", str(target)], project, f"compiling {source}")
            return target, text

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            compiled = list(pool.map(compile_one, sources))
        report("link firmware.elf")
        elf = out / "firmware.elf"
        command = [gcc, *files.arch_flags(board.manifest), *files.LINKFLAGS, *(str(o) for o, _ in compiled)]
        command += ["-T", str(out / "memory.ld")]
        command += [f"-Wl,-Map,{elf.with_suffix('.map')}", "-o", str(elf)]
        log = "".join(text for _, text in compiled) + _run(command, project, f"linking for {board.id}")
        if files.needs_boot2(board.manifest):
            _platform_module("rp2040_checksum").patch(elf)
        for kind, suffix in (("binary", "bin"), ("ihex", "hex")):
            _run(
                [objcopy, "-O", kind, str(elf), str(elf.with_suffix("." + suffix))],
                project,
                f"writing the .{suffix}",
            )
        results = [elf, *(elf.with_suffix(s) for s in (".bin", ".hex", ".map")), *out.glob("*.su")]
        return publish({f.name: f for f in results}, project / "build" / (name or board.id), log)


def build_host(
    sources: Sequence[Path],
    include_dirs: Sequence[Path],
    output: Path,
    *,
    shared: bool = True,
    defines: Iterable[str] = (),
    flags: Sequence[str] = ("-O2",),
    compiler: str | None = None,
) -> Path:
    """Compile C files for this computer, as C11 with all warnings as errors.

    Args:
        sources: the C files.
        include_dirs: folders of headers.
        output: the file to write, whole or not at all.
        shared: make a shared library rather than a program.
        defines: macros such as "TM_TRACE=1".
        flags: further flags of the compiler.
        compiler: by default $CC, or gcc.

    Returns:
        `output`.

    Raises:
        ToolchainError: no compiler, or it refuses a file.
    """
    cc = require(compiler or os.environ.get("CC", "gcc"), HOST_GCC_INSTALL)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tinyml-host-", dir=output.parent) as scratch:
        fresh = Path(scratch) / output.name
        command = [cc, "-std=c11", *flags, *(("-fPIC", "-shared") if shared else ()), *WARNINGS]
        command += [f"-D{d}" for d in defines] + [f"-I{i}" for i in include_dirs]
        command += [*map(str, sources), "-o", str(fresh)]
        _run(command, Path.cwd(), f"compiling {output.name} for this computer")
        fresh.replace(output)
    return output
