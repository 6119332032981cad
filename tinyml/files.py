"""One file, whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tinyml.errors import UsageError


def write_file(path: Path, content: bytes, *, option: str) -> None:
    """Write a file that a user asked for; what was there before stays until all of it is written.

    Args:
        path: the file; its folder is made where there is none.
        content: of the file.
        option: of the command line that names the file, for the error.

    Raises:
        UsageError: it cannot be written, and nothing is left of the attempt.
    """
    stage: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a device or a pipe, which must not be replaced
            path.write_bytes(content)
            return
        path = path.resolve()  # a link stays one
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tinyml-", delete=False) as file:
            stage = Path(file.name)
            file.write(content)
        stage.chmod(0o644)
        stage.replace(path)
        stage = None
    except OSError as error:
        raise UsageError(
            f"cannot write {path}",
            where=option,
            expected=error.strerror or str(error),
            hint="check the folder, its permissions and the space left",
        ) from error
    finally:
        if stage is not None:
            stage.unlink(missing_ok=True)
