"""Reading model files from disk."""

from __future__ import annotations

from pathlib import Path

from tinyml.errors import ModelError

_MAX_FILE_BYTES = 2**31 - 1


def read_bytes(path: Path) -> bytes:
    """Return a model file's content.

    Raises:
        ModelError: it cannot be read, or is larger than flatbuffers and protocol buffers can be.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise ModelError(f"{path.name} has {size} bytes", expected="a model file below 2 GiB")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read {path.name}",
            where=str(path),
            expected=error.strerror or str(error),
            hint="check the path and its permissions",
        ) from error
