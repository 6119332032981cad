"""The portable kernels stay within twice of the best that GCC makes of plain loops, on the smallest cores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kernels.count_dsp import build_plugin
from tests.kernels.count_portable import CORES, count, pairs
from tests.kernels.kernel_cases import REFERENCES
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa

TOOLS = {
    "cortex-m0": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "rv32imc": ("riscv64-unknown-elf-gcc", "qemu-system-riscv32"),
}


# Of the operators with a twin (kernel_cases.REFERENCES): another element type, or a form of one counted.
UNCOUNTED = {
    "tm_dequantize_s16_f32_c",
    "tm_pad_nd_c",
    "tm_quantize_f32_s16_c",
    "tm_requantize_s16_c",
    "tm_softmax_table_s8_c",
}


def test_every_portable_kernel_with_a_twin_is_counted() -> None:
    twins = {k.symbol for k in KERNELS if k.isa is Isa.C and k.op in REFERENCES}
    s16 = {symbol for symbol in twins if "_s16_" in symbol}
    assert {pair.kernel.symbol for pair in pairs()} == twins - UNCOUNTED - s16


@pytest.mark.parametrize("core", CORES)
def test_within_twice_of_the_best_of_gcc(core: str, tmp_path: Path) -> None:
    missing = [tool for tool in TOOLS[core] if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    counted = count(core, build_plugin(tmp_path), tmp_path)
    slow = {one.name: round(one.ratio, 2) for one in counted if one.ratio > 2}
    assert slow == {}
    # a word of four bytes takes a load and a store at least: fewer is a broken count
    outputs = {pair.name: pair.kernel.output_bytes for pair in pairs()}
    assert all(min(one.kernel, *one.plain.values()) > outputs[one.name] / 2 for one in counted)
