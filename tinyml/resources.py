"""Where the package's data lives: templates (`codegen/`), C runtime (`runtime_c/`), boards (`boards/`).

A wheel carries them as `tinyml/_data/*`; a checkout has them beside the package. Nothing else in the
package may build a path to them. What is made once and kept lies in the user's cache folder.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _root() -> Path:
    # The checkout wins: an editable install leaves a copy in site-packages that goes stale.
    if (_PACKAGE.parent / "codegen").is_dir() and (_PACKAGE.parent / "runtime_c").is_dir():
        return _PACKAGE.parent
    return _PACKAGE / "_data"


def codegen_dir() -> Path:
    """Return the folder of Jinja templates."""
    return _root() / "codegen"


def runtime_dir() -> Path:
    """Return the folder of C sources: kernels, board port, PlatformIO platform."""
    return _root() / "runtime_c"


def boards_dir() -> Path:
    """Return the folder of board files."""
    return _root() / "boards"


def cache_dir() -> Path:
    """Return the folder for what is made once per user: PlatformIO's core, the profiling plugin."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyml"
