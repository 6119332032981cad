"""Dimensions above 65,535: signals of 70,000 samples, along either side of an image."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tflite_builder import ModelBuilder
from tinyml import boards
from tinyml.build import compile_model, open_target
from tinyml.verify import verify

SAMPLES = 70_000
SHAPES = ((1, 1, SAMPLES, 1), (1, SAMPLES, 1, 1))


@pytest.mark.parametrize("board", ["host", "mps2-an386"])
def test_long_signals_equal_litert(board: str, tmp_path: Path) -> None:
    b = ModelBuilder(5)
    for shape, kernel in zip(SHAPES, ((1, 5), (5, 1)), strict=True):
        b.output(b.conv2d(b.input(shape), 1, kernel))
    path = b.save(tmp_path / "samples.tflite")
    compiled = compile_model(path, boards.load(board))
    assert tuple(compiled.graph.tensors[t].shape for t in compiled.graph.outputs) == SHAPES
    with open_target(compiled, tmp_path / "project", toolchain="gcc") as target:
        report = verify(path, target, samples=1)
        (source,) = (tmp_path / "project").rglob("samples.c")
        ports = re.findall(r"TM_INT8, 4, \{([^}]*)\}", source.read_text())
    assert (report.samples, report.mismatched_samples) == (1, 0), report.first_mismatch
    assert ports == [", ".join(map(str, shape)) for shape in SHAPES] * 2
