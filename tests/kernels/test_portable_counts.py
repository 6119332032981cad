"""The portable kernels stay within twice of the best that GCC makes of plain loops, on the smallest cores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kernels.count_dsp import build_plugin
from tests.kernels.count_portable import CORES, count, pairs
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa

TOOLS = {
    "cortex-m0": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "rv32imc": ("riscv64-unknown-elf-gcc", "qemu-system-riscv32"),
}


def test_every_portable_kernel_is_counted() -> None:
    assert {pair.kernel.symbol for pair in pairs()} == {k.symbol for k in KERNELS if k.isa is Isa.C}


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
