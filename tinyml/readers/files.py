"""Reading model files from disk."""

from __future__ import annotations

import stat
from pathlib import Path

from tinyml.errors import ModelError

_MAX_FILE_BYTES = 2**31 - 1


def read_bytes(path: Path) -> bytes:
    """Return a model file's content.

    Raises:
        ModelError: it cannot be read, is a device (which may never end), or is larger than flatbuffers and
            protocol buffers can be.
    """
    try:
        status = path.stat()
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            raise ModelError(f"{path.name} is a device", where=str(path), expected="expected a model file")
        if status.st_size > _MAX_FILE_BYTES:
            raise ModelError(f"{path.name} has {status.st_size} bytes", expected="a model file below 2 GiB")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read {path.name}",
            where=str(path),
            expected=error.strerror or str(error),
            hint="check the path and its permissions",
        ) from error
