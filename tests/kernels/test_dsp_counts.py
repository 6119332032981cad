"""The DSP kernels stay within their instruction counts (emulated Cortex-M4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels.count_dsp import Shape, build_plugin, count, elementwise_cases, shapes, wide_shapes
from tests.kernels.counted_calls import count_calls
from tinyml import reference
from tinyml.run.profile import price_calls


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plugin(tmp_path_factory.mktemp("plugin"))


@pytest.mark.parametrize("shape", shapes(), ids=lambda shape: shape.name)
def test_instructions_per_mac(shape: Shape, plugin: Path, tmp_path: Path) -> None:
    case = shape.case()
    instructions, _ = count(case, plugin, tmp_path)
    # fewer than 0.75 is more than the instruction set can do with int8 weights: a broken count
    assert 0.75 < instructions / case.lowered.macs <= shape.bound


@pytest.mark.parametrize("shape", wide_shapes(), ids=lambda shape: shape.name)
def test_instructions_per_mac_on_int16(shape: Shape, plugin: Path, tmp_path: Path) -> None:
    case = shape.case()
    assert case.symbol.endswith("_s16_dsp")
    assert (dict(case.lowered.literals).get("wide") == 1) == ("64 bits" in shape.name)
    instructions, _ = count(case, plugin, tmp_path)
    assert 0.75 < instructions / case.lowered.macs <= shape.bound
    if shape.name.startswith(("3x3 16", "dw 3x3 20", "fc 640")):
        instructions, _ = count(case, plugin, tmp_path, "-DTM_NO_ASM")
        assert instructions / case.lowered.macs <= shape.bound_without_asm


@pytest.mark.parametrize(
    "name", ["1x1 25x5x64 -> 64", "3x3 16x16x16 -> 16", "dw 3x3 20x20x48", "fc 640 -> 128"]
)
def test_instructions_per_mac_without_assembly(name: str, plugin: Path, tmp_path: Path) -> None:
    shape = next(shape for shape in shapes() if shape.name == name)
    case = shape.case()
    instructions, _ = count(case, plugin, tmp_path, "-DTM_NO_ASM")
    assert instructions / case.lowered.macs <= shape.bound_without_asm


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("tm_add_fixed_s8_dsp", 5.9),
        ("tm_mul_channels_s8_dsp", 6.9),
        ("tm_mean_s8_dsp", 1.3),
        ("tm_add_s16_dsp", 13.8),
        ("tm_mul_s16_dsp", 7.8),
    ],
)
def test_instructions_per_element(name: str, bound: float, plugin: Path, tmp_path: Path) -> None:
    """Of the input, where nothing is multiplied by a weight."""
    case = elementwise_cases()[name]
    instructions, _ = count(case, plugin, tmp_path)
    assert case.symbol == name
    # a load or less: a broken count
    assert 0.5 < instructions / case.inputs[0].size <= bound


def test_loads_issue_beside_multiplications_on_the_m7(plugin: Path, tmp_path: Path) -> None:
    """Estimated cycles per multiply-accumulate: 0.5 is a multiplication in every cycle."""
    bounds = {
        "1x1 10x10x16 -> 48 relu": 0.9,  # a short column
        "1x1 10x10x144 -> 24": 0.72,
        "3x3 16x16x16 -> 16": 0.77,
        "3x3 8x8x64 -> 64": 0.7,
    }
    chosen = [shape for shape in shapes() if shape.name in bounds]
    cases = [shape.case() for shape in chosen]
    counted = count_calls(cases, "cortex-m7", plugin, tmp_path)
    costs = price_calls(counted.program, counted.report, "cortex-m7")
    for shape, case, cost, output in zip(chosen, cases, costs, counted.outputs, strict=True):
        (op,) = shape.graph.ops
        assert np.array_equal(output, reference.run_op(shape.graph, op, {0: case.inputs[0]})), shape.name
        assert cost.cycles is not None
        assert 0.5 < cost.cycles / case.lowered.macs <= bounds[shape.name], shape.name
