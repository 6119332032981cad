"""The Helium kernels against numpy: their C on the host, their instructions on an emulated Cortex-M55."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.kernels import kernel_cases, mve_cases
from tests.kernels.dsp_cases import constant_channel_graphs
from tests.kernels.harness import (
    SANITIZED,
    SEMIHOSTING_SOURCES,
    Program,
    board_compiler,
    board_runner,
    check_headers,
)
from tests.kernels.kernel_cases import graphs_for
from tests.kernels.simd_work import Work, accepted, work_for
from tinyml.boards import all_boards
from tinyml.graph import OpKind
from tinyml.kernels.mve import KERNELS
from tinyml.kernels.registry import Isa, OpContext
from tinyml.select import select

RANDOM = 60  # graphs per kernel beside the aimed ones
GENERATORS = {
    "tm_add_s8_mve": (kernel_cases.same_shape,),
    "tm_avg_pool2d_s8_mve": (kernel_cases.pooling,),
    "tm_conv2d_1x1_s8_mve": (kernel_cases.pointwise,),
    "tm_conv2d_rows_s8_mve": (kernel_cases.convolution,),
    "tm_conv2d_s8_mve": (kernel_cases.convolution, kernel_cases.pointwise),
    "tm_dwconv2d_3x3_s8_mve": (kernel_cases.depthwise,),
    "tm_dwconv2d_words_s8_mve": (kernel_cases.depthwise,),
    "tm_dwconv2d_s8_mve": (kernel_cases.depthwise,),
    "tm_fully_connected_s8_mve": (kernel_cases.fully_connected,),
    "tm_max_pool2d_s8_mve": (kernel_cases.pooling,),
    "tm_mul_s8_mve": (kernel_cases.same_shape,),
    "tm_requantize_s8_mve": (kernel_cases.requantize,),
}
CORE = "cortex-m55"


@pytest.fixture(scope="module")
def aimed() -> Work:
    graphs = mve_cases.graphs()
    return work_for([pair for kernel in KERNELS for pair in accepted(kernel, graphs)])


@pytest.fixture(scope="module")
def everything() -> Work:
    graphs = mve_cases.graphs()
    pairs = [pair for kernel in KERNELS for pair in accepted(kernel, graphs)]
    for seed, kernel in enumerate(KERNELS):
        pairs += [(kernel, g) for g in graphs_for(kernel, GENERATORS[kernel.symbol], RANDOM, seed)]
    return work_for(pairs)


def test_the_cases_reach_what_they_aim_at(everything: Work) -> None:
    literals = [dict(case.lowered.literals) for case in everything.apart]
    for symbol in GENERATORS:
        cases = [dict(case.lowered.literals) for case in everything.apart if case.symbol == symbol]
        if "form" in cases[0]:
            assert {values["form"] for values in cases} == {0, 2, 3}, symbol
    for flag in ("vector", "per_output"):
        assert {values[flag] for values in literals if flag in values} == {0, 1}
    assert any(values.get("lo", -128) > -128 for values in literals)
    assert any(values.get("hi", 127) < 127 for values in literals)
    steps = {case.lowered.loop.step for case in everything.apart if case.lowered.loop}
    assert steps == {1, 2, 4}
    for symbol in GENERATORS:
        outputs = [
            e for case, e in zip(everything.apart, everything.expected, strict=True) if case.symbol == symbol
        ]
        values, counts = np.unique(np.concatenate([e.ravel() for e in outputs]), return_counts=True)
        assert len(values) > 150, symbol
        assert counts[1:-1].sum() / counts.sum() > 0.4, f"{symbol}: most outputs saturate"


def test_constant_channels_do_not_slow_a_layer_down() -> None:
    graphs = constant_channel_graphs()
    for kernel in KERNELS:
        for _, graph in accepted(kernel, graphs):
            assert dict(kernel.lower(OpContext(graph, graph.ops[0])).literals).get("form", 2) == 2


def test_c_on_the_host(everything: Work, tmp_path: Path) -> None:
    """Under AddressSanitizer and UBSan, which see one byte too many; with the obvious loops beside them."""
    program = Program(tmp_path, (*everything.apart, *everything.by_ref), compiler=SANITIZED)
    everything.check(program.run(everything.apart))
    everything.check(program.run(everything.by_ref))


def test_sharing_memory_at_the_tightest_distance_on_the_host(everything: Work, tmp_path: Path) -> None:
    program = Program(tmp_path, everything.in_place, compiler=("gcc", "-std=c11", "-O1", "-w"))
    everything.check(program.run(everything.in_place))


@pytest.mark.parametrize("flags", [("-O2",), ("-Os",), ("-O2", "-DTM_NO_ASM")], ids=["helium", "small", "C"])
def test_on_a_board(everything: Work, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """One program for all shapes, with separate buffers and with shared ones."""
    compiler = board_compiler(CORE, *flags)
    program = Program(tmp_path, everything.apart, compiler=compiler, sources=SEMIHOSTING_SOURCES)
    everything.check_both(program.run(everything.both, board_runner(CORE)))
    program.check_stack(everything.both)


@pytest.mark.parametrize("part", range(4))
def test_specialised_for_each_shape(aimed: Work, tmp_path: Path, part: int) -> None:
    """As in generated code, where every literal is a constant and GCC folds what it can."""
    some = aimed.parts(4)[part]
    program = Program(
        tmp_path,
        some.apart,
        compiler=board_compiler(CORE, "-O2"),
        sources=SEMIHOSTING_SOURCES,
        specialise=True,
    )
    some.check(program.run(some.apart, board_runner(CORE)))
    if part > 0:  # the first holds every kind of case
        return
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", "-m", "armv8.1-m.main", str(program.program)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    present = set(re.findall(r"\t([a-z0-9.]+)(?=\s)", listing))
    # products (VMLADAV by its short name), requantisation, interleaving, loops
    wanted = {"vmlav.s8", "vmlava.s8", "vmullb.s16", "vmulh.s32", "vmulh.u32", "vmax.s8", "vst40.8", "le"}
    wanted |= {"vqrdmulh.s32", "vqrdmlah.s32", "vrshl.s32", "vqmovnb.s32", "vqmovnt.s32"}
    wanted |= {"dlstp.8", "wlstp.8", "letp"}
    assert wanted <= present, wanted - present


COMPILERS = {
    "arm M55": (
        "arm-none-eabi-gcc",
        "-mcpu=cortex-m55",
        "-mthumb",
        "-mfloat-abi=hard",
        "-std=c11",
        "-x",
        "c",
    ),
    "arm M55 C++": (
        *("arm-none-eabi-g++", "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-std=c++11", "-x", "c++"),
    ),
    "arm M55 clang": (
        *(
            "clang",
            "--target=arm-none-eabi",
            "-mcpu=cortex-m55",
            "-mthumb",
            "-mfloat-abi=hard",
            "-ffreestanding",
        ),
        *("-std=c11", "-isystem", "/usr/lib/arm-none-eabi/include", "-x", "c"),
    ),
    "arm M4": ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c11", "-x", "c"),
    "gcc": ("gcc", "-std=c11", "-x", "c"),
    "g++": ("g++", "-std=c++11", "-x", "c++"),
    "clang": ("clang", "-std=c11", "-x", "c"),
}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_headers_compile_clean(compiler: str, tmp_path: Path) -> None:
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    check_headers(command, [kernel.symbol for kernel in KERNELS], tmp_path)


def test_every_kernel_has_cases() -> None:
    assert set(GENERATORS) == {kernel.symbol for kernel in KERNELS}
    assert {kernel.op for kernel in KERNELS} == {
        OpKind.ADD,
        OpKind.AVERAGE_POOL_2D,
        OpKind.CONV_2D,
        OpKind.DEPTHWISE_CONV_2D,
        OpKind.FULLY_CONNECTED,
        OpKind.MAX_POOL_2D,
        OpKind.MUL,
        OpKind.QUANTIZE,
    }


def test_boards_with_helium_prefer_it() -> None:
    graph = mve_cases.graphs()[0]
    for board in all_boards():
        (selection,) = select(graph, [Isa(name) for name in reversed(board.isa)])
        assert selection.kernel is not None
        assert (selection.kernel.isa is Isa.MVE) == (board.core in ("cortex-m55", "cortex-m85"))
