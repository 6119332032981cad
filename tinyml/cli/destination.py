"""Nothing half-written: a project is made in a temporary folder and moved to its place when it is whole."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinyml import __version__
from tinyml.errors import UsageError

MANIFEST = ".tinyml.json"
# Left behind by PlatformIO: no product, and full of the temporary folder's absolute paths.
_BUILD_FOLDERS = (".pio", "__pycache__")
_FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def staged(destination: Path, *, force: bool) -> Iterator[Path]:
    """Yield a temporary folder; move its files to `destination` if the body succeeds.

    A destination that tinyml made before is replaced file by file: files that the new project no
    longer has are removed, files that someone added stay. The list is kept in `.tinyml.json`.

    Args:
        destination: the folder to write; may exist.
        force: write into a folder that tinyml did not make.

    Raises:
        UsageError: the destination is a file, cannot be written, or was not made by tinyml.
    """
    destination = destination.resolve()
    if destination.exists() and not destination.is_dir():
        raise UsageError(f"{destination} is a file", where="-o", expected="expected a folder")
    if _foreign(destination) and not force:
        raise UsageError(
            f"{destination} was not made by tinyml and is not empty",
            where="-o",
            expected="nothing was written",
            hint="choose another folder, or add --force to write into this one",
        )
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        # Beside the destination, so that the final move is a rename on one file system.
        stage = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    except OSError as error:
        raise UsageError(f"cannot write {destination}: {error.strerror}", where="-o") from error
    try:
        yield stage
        _move(stage, destination)
    except OSError as error:
        if error.errno not in _FULL_OR_FORBIDDEN:
            raise  # not about the folder: some step's own failure
        raise UsageError(f"cannot write {destination}: {error.strerror}", where="-o") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _foreign(destination: Path) -> bool:
    if not destination.is_dir() or (destination / MANIFEST).is_file():
        return False
    return any(destination.iterdir())


def _move(stage: Path, destination: Path) -> None:
    for name in _BUILD_FOLDERS:
        for folder in list(stage.rglob(name)):
            shutil.rmtree(folder)
    files = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
    manifest = {"tinyml": __version__, "files": [path.as_posix() for path in files]}
    (stage / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    stage.chmod(0o755)  # mkdtemp makes it private
    if not destination.exists():
        stage.rename(destination)
        return
    for stale in _previous(destination) - set(files):
        (destination / stale).unlink(missing_ok=True)
    for path in [*files, Path(MANIFEST)]:
        (destination / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).replace(destination / path)
    shutil.rmtree(destination / ".pio", ignore_errors=True)  # objects of the project before


def _previous(destination: Path) -> set[Path]:
    """Files of the project that is there now; none where the list is missing or damaged."""
    try:
        listed = json.loads((destination / MANIFEST).read_text())["files"]
        paths = {Path(str(name)) for name in listed}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    # A damaged list must not reach outside the folder.
    return {path for path in paths if not path.is_absolute() and ".." not in path.parts}
