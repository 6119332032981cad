"""Networks of activations and elementwise operators, from the file to the host and an emulated Cortex-M4."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.tflite_builder import ModelBuilder
from tinyml import boards
from tinyml.build import Planning, compile_model, open_target
from tinyml.verify import verify

Schedule = Literal["layer", "stream"]


def _mobile(b: ModelBuilder) -> int:
    """Blocks as MobileNetV3 has them: hard-swish, and a gate of hard-sigmoids."""
    x = b.unary("HARD_SWISH", b.conv2d(b.input((1, 32, 32, 3)), 16, 3))
    x = b.conv2d(b.unary("HARD_SWISH", b.depthwise(x, 1, 3, 2)), 8, 1)
    y = b.unary("HARD_SWISH", b.depthwise(b.unary("HARD_SWISH", b.conv2d(x, 24, 1)), 1, 5))
    gate = b.conv2d(b.conv2d(b.mean(y, [1, 2], keep_dims=True), 8, 1, activation="relu"), 24, 1)
    three = b.constant(np.array(60, np.int8), 0.05, 0)
    gate = b.mul(b.add(gate, three, "relu6", 6 / 255, -128), b.constant(np.array(127, np.int8), 1 / 762, 0))
    x = b.add(x, b.conv2d(b.mul(y, gate), 8, 1))
    x = b.unary("LEAKY_RELU", x, None, None, "LeakyReluOptions", Alpha=0.1)
    return b.softmax(b.fully_connected(b.mean(x, [1, 2]), 5))


def _elementwise(b: ModelBuilder) -> int:
    """Every kind of pair: differences, extrema, comparisons and choices, in rows and by channel."""
    x = b.input((1, 15, 11, 6), 0.04)
    y, z = (b.conv2d(x, 6, 3, out_scale=0.05, out_zero_point=3) for _ in range(2))
    slopes = b.constant(b.rng.integers(-128, 128, (1, 1, 6)).astype(np.int8), 0.01, 0)
    y = b.binary("PRELU", y, slopes)
    near = b.relation("LESS", b.binary("SQUARED_DIFFERENCE", y, z, 0.2), b.binary("MAXIMUM", y, z))
    far = b.relation("LOGICAL_NOT", b.relation("LOGICAL_AND", near, b.relation("GREATER_EQUAL", x, y)))
    chosen = b.select(far, b.binary("SUB", y, z, None, None, "SubOptions"), b.unary("TANH", z, 1 / 128))
    b.output(b.cast(far, "int8"), b.dequantize(b.quantize(chosen, 1e-4, dtype="int16")))
    return b.max_pool(b.unary("GELU", chosen, None, None, "GeluOptions"), 3, padding="SAME")


@pytest.mark.parametrize("network", [_mobile, _elementwise])
@pytest.mark.parametrize(
    ("board", "schedule"), [("host", "layer"), ("host", "stream"), ("mps2-an386", "stream")]
)
def test_its_outputs_equal_litert(network: object, board: str, schedule: Schedule, tmp_path: Path) -> None:
    b = ModelBuilder(13)
    b.output(network(b))
    path = b.save(tmp_path / "net.tflite")
    compiled = compile_model(path, boards.load(board), Planning(schedule=schedule, objective="sram"))
    if schedule == "stream":
        assert any(stage.streamed for stage in compiled.plan.stages)
    with open_target(compiled, tmp_path / "project", toolchain="gcc") as target:
        report = verify(path, target, samples=3)
    assert (report.samples, report.mismatched_samples) == (3, 0), report.first_mismatch
