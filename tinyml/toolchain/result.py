"""What a build hands on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[str], None]  # told one line per step, such as "compile src/kws.c"


@dataclass(frozen=True, slots=True)
class BuildResult:
    """Files of a finished build, all in one folder.

    `stack_usage` are GCC's .su files (bytes of stack per function), one per object.
    """

    elf: Path
    bin: Path
    hex: Path
    stack_usage: tuple[Path, ...]
    log: str


def publish(files: Mapping[str, Path], target: Path, log: str) -> BuildResult:
    """Move a build's files to `target` in one step, replacing an earlier build.

    Args:
        files: by name: firmware.elf, .bin, .hex and the .su files; elsewhere, complete.
        target: the folder that will hold exactly these files.
        log: the build's output.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for name, file in files.items():
            shutil.copy2(file, fresh / name)
        fresh.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return BuildResult(
        elf=target / "firmware.elf",
        bin=target / "firmware.bin",
        hex=target / "firmware.hex",
        stack_usage=tuple(sorted(target.glob("*.su"))),
        log=log,
    )
