"""Real networks for tests, found beside the checkout: ../shared/models, or $TINYML_SHARED/models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("TINYML_SHARED") or Path(__file__).resolve().parents[2] / "shared")


def shared_models(*names: str) -> list:
    """Return parameters for the named models; those that are absent are skipped."""
    return [
        pytest.param(
            path := SHARED / "models" / f"{name}.tflite",
            id=name,
            marks=pytest.mark.skipif(not path.exists(), reason=f"{path} is not there"),
        )
        for name in names
    ]
