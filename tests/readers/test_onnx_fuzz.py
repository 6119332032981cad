"""Damaged ONNX files: whatever the damage, one ModelError or a checked graph, quickly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.readers.damage import damage_bytes, is_refused
from tests.readers.damage_onnx import rewire, sound_files
from tests.readers.test_onnx import NETWORKS

CASES = 300


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The quantised networks of test_onnx, which together use every operator."""
    return sound_files(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("change", [damage_bytes, rewire], ids=["bytes", "fields"])
@pytest.mark.parametrize("network", range(len(NETWORKS)), ids=[n.__name__ for n in NETWORKS])
def test_damaged_files(
    network: int,
    change: Callable[[bytes, np.random.Generator], bytes],
    files: list[bytes],
    tmp_path: Path,
) -> None:
    assert not is_refused(files[network], tmp_path / "m.onnx")
    refused = sum(
        is_refused(change(files[network], np.random.default_rng([network, i])), tmp_path / "m.onnx")
        for i in range(CASES)
    )
    assert refused > CASES // 4
    assert refused < CASES


@pytest.mark.parametrize("content", [b"", b"\x00", b"TFL3", bytes(range(256)), b"\xff" * 100], ids=repr)
def test_foreign_content(content: bytes, tmp_path: Path) -> None:
    assert is_refused(content, tmp_path / "m.onnx")
