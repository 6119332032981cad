"""The DSP kernels against numpy: emulated instructions on the host, real ones on emulated boards."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.kernels import binary_cases, kernel_cases
from tests.kernels.dsp_cases import (
    SAME3,
    aimed_graphs,
    constant_channel_graphs,
    conv_graph,
    rectified_graphs,
)
from tests.kernels.harness import (
    SANITIZED,
    SEMIHOSTING_SOURCES,
    Program,
    board_compiler,
    board_runner,
    check_headers,
    overlaps,
)
from tests.kernels.kernel_cases import case_for, graphs_for, inputs_for
from tests.kernels.simd_work import Work, accepted, work_for
from tinyml import reference
from tinyml.graph import OpKind, Pads
from tinyml.kernels import dsp_wide
from tinyml.kernels.dsp import KERNELS, Blocks, with_blocks
from tinyml.kernels.dsp_streams import RequantForm
from tinyml.kernels.registry import OpContext

RANDOM = 60  # graphs per kernel beside the aimed ones
GENERATORS = {
    "tm_add_fixed_s8_dsp": (kernel_cases.same_shape,),
    "tm_sub_fixed_s8_dsp": binary_cases.GENERATORS["tm_sub_s8_c"],
    "tm_add_s8_dsp": (kernel_cases.same_shape,),
    "tm_avg_pool2d_s8_dsp": (kernel_cases.pooling,),
    "tm_conv2d_1x1_s8_dsp": (kernel_cases.pointwise,),
    "tm_conv2d_s8_dsp": (kernel_cases.convolution, kernel_cases.pointwise),
    "tm_dwconv2d_3x3_s8_dsp": (kernel_cases.small_depthwise,),
    "tm_dwconv2d_3x3_row_s8_dsp": (kernel_cases.depthwise, kernel_cases.small_depthwise),
    "tm_dwconv2d_large_s8_dsp": (kernel_cases.large_depthwise,),
    "tm_dwconv2d_pairs_s8_dsp": (kernel_cases.depthwise,),
    "tm_dwconv2d_s8_dsp": (kernel_cases.depthwise,),
    "tm_dwconv2d_taps_s8_dsp": (kernel_cases.depthwise,),
    "tm_fully_connected_rows_s8_dsp": (kernel_cases.fully_connected,),
    "tm_fully_connected_s8_dsp": (kernel_cases.fully_connected,),
    "tm_mean_s8_dsp": (kernel_cases.mean,),
    "tm_mul_channels_s8_dsp": (kernel_cases.broadcast, kernel_cases.same_shape),
}
CORES = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")


@pytest.fixture(scope="module")
def aimed() -> Work:
    graphs = aimed_graphs()
    return work_for([pair for kernel in KERNELS for pair in accepted(kernel, graphs)])


@pytest.fixture(scope="module")
def everything() -> Work:
    graphs = aimed_graphs()
    pairs = [pair for kernel in KERNELS for pair in accepted(kernel, graphs)]
    for seed, kernel in enumerate(KERNELS):
        pairs += [(kernel, g) for g in graphs_for(kernel, GENERATORS[kernel.symbol], RANDOM, seed)]
    return work_for(pairs)


def test_the_cases_reach_what_they_aim_at(everything: Work) -> None:
    literals = [dict(case.lowered.literals) for case in everything.apart]
    assert {values["form"] for values in literals if "form" in values} == set(RequantForm)
    forms = set(RequantForm) - {RequantForm.ONCE}  # which is of dense layers
    for symbol in ("tm_conv2d_1x1_s8_dsp", "tm_conv2d_s8_dsp"):
        seen = {
            (v["form"], v["packed"])
            for c, v in zip(everything.apart, literals, strict=True)
            if c.symbol == symbol
        }
        assert seen == {(form, packed) for form in forms for packed in (0, 1)} - {(RequantForm.ANY, 1)}
    for symbol in (s for s in GENERATORS if s.startswith("tm_dwconv2d")):
        seen = {v["form"] for c, v in zip(everything.apart, literals, strict=True) if c.symbol == symbol}
        assert seen == forms, symbol
    assert {values["per_output"] for values in literals if "per_output" in values} == {0, 1}
    for kind in ("form", "per_output"):  # of convolutions and of dense layers
        assert {values["packed"] for values in literals if "packed" in values and kind in values} == {0, 1}
    assert any(values["lo"] > -128 for values in literals)
    assert any(values["hi"] < 127 for values in literals)
    for symbol in GENERATORS:
        outputs = [
            e for case, e in zip(everything.apart, everything.expected, strict=True) if case.symbol == symbol
        ]
        values, counts = np.unique(np.concatenate([e.ravel() for e in outputs]), return_counts=True)
        assert len(values) > 150, symbol
        inside = counts[1:-1].sum() / counts.sum()
        assert inside > 0.4, f"{symbol}: most outputs saturate"


def test_constant_channels_do_not_slow_a_layer_down() -> None:
    graphs = constant_channel_graphs()
    for kernel in KERNELS:
        for _, graph in accepted(kernel, graphs):
            assert dict(kernel.lower(OpContext(graph, graph.ops[0])).literals)["form"] == 3


def test_emulated_instructions_on_the_host(everything: Work, tmp_path: Path) -> None:
    """Under AddressSanitizer and UBSan, which see one byte too many; with the obvious loops beside them."""
    program = Program(tmp_path, (*everything.apart, *everything.by_ref), compiler=SANITIZED)
    everything.check(program.run(everything.apart))
    everything.check(program.run(everything.by_ref))


def test_sharing_memory_at_the_tightest_distance_on_the_host(everything: Work, tmp_path: Path) -> None:
    program = Program(tmp_path, everything.in_place, compiler=("gcc", "-std=c11", "-O1", "-w"))
    everything.check(program.run(everything.in_place))


def test_rows_outside_the_image_are_not_read(tmp_path: Path) -> None:
    """The row kernel puts zero points into its columns where a pointer is NULL: above, below or both."""
    (row,) = (kernel for kernel in KERNELS if kernel.symbol == "tm_dwconv2d_3x3_row_s8_dsp")
    cases, expected = [], []
    for height, pads, dilation, stride in (
        (5, Pads(2, 1, 2, 1), 1, 1),
        (6, Pads(0, 0, 1, 1), 1, 2),
        (6, Pads(2, 1, 1, 0), 1, 2),
        (1, Pads(1, 1, 1, 1), 1, 2),
        (3, Pads(2, 1, 2, 1), 2, 1),
        (2, Pads(3, 0, 3, 2), 3, 1),
    ):
        for width in (7, 12):
            graph = conv_graph(
                in_shape=(height, width, 7),
                out_c=7,
                kernel=(3, 3),
                stride=(stride, stride),
                dilation=(dilation, 1),
                pads=pads,
                depthwise=True,
            )
            assert row.refusals(OpContext(graph, graph.ops[0])) == []
            inputs = inputs_for(graph, np.random.default_rng(len(cases)))
            case = case_for(row, graph, inputs)
            assert case.lowered.loop is not None
            assert case.lowered.loop.pad_value is None
            assert row.less_scratch is not None
            cases += [case, dataclasses.replace(case, lowered=row.less_scratch(case.lowered))]
            expected += [reference.run_op(graph, graph.ops[0], {0: inputs[0]})] * 2
    for folder, compiler, runner, sources in (
        ("host", SANITIZED, (), ()),
        ("board", board_compiler("cortex-m4", "-O2"), board_runner("cortex-m4"), SEMIHOSTING_SOURCES),
    ):
        (tmp_path / folder).mkdir()
        program = Program(tmp_path / folder, cases, compiler=compiler, sources=sources)
        outputs = program.run(cases, runner)
        assert all(np.array_equal(a, b) for a, b in zip(outputs, expected, strict=True))
    graph = conv_graph(in_shape=(4, 6, 4), out_c=4, kernel=(3, 3), pads=Pads(3, 1, 1, 1), depthwise=True)
    assert any("at least one row" in sentence for sentence in row.refusals(OpContext(graph, graph.ops[0])))


@pytest.mark.parametrize(
    ("core", "flags"),
    [
        *((core, flags) for core in CORES for flags in (("-O2",), ("-O2", "-DTM_NO_ASM"))),
        ("cortex-m4", ("-Os",)),
    ],
    ids=str,
)
def test_real_instructions_on_a_board(
    everything: Work, tmp_path: Path, core: str, flags: tuple[str, ...]
) -> None:
    """One program for all shapes, with separate buffers and with shared ones."""
    compiler = board_compiler(core, *flags)
    program = Program(tmp_path, everything.apart, compiler=compiler, sources=SEMIHOSTING_SOURCES)
    everything.check_both(program.run(everything.both, board_runner(core)))
    program.check_stack(everything.both)


@pytest.mark.parametrize("optimise", ["-O2", "-O0"])
def test_specialised_for_each_shape(aimed: Work, tmp_path: Path, optimise: str) -> None:
    """As in generated code, where every literal is a constant and GCC folds what it can."""
    compiler = board_compiler("cortex-m4", optimise)
    for work in aimed.parts(5):
        program = Program(
            tmp_path, work.apart, compiler=compiler, sources=SEMIHOSTING_SOURCES, specialise=True
        )
        work.check(program.run(work.apart, board_runner("cortex-m4")))
    if optimise == "-O2":
        listing = subprocess.run(
            ["arm-none-eabi-objdump", "-d", str(program.program)], capture_output=True, text=True, check=True
        ).stdout
        present = set(re.findall(r"\t([a-z0-9]+)\b", listing))
        assert {
            "smlad",
            "smlabt",
            "smlatb",
            "smmla",
            "smmlar",
            "smmlsr",
            "sxtb16",
            "pkhbt",
            "ssat",
        } <= present


def test_any_division_into_blocks(tmp_path: Path) -> None:
    """Scratch may be traded for instructions: every division gives the same bytes."""
    cases, expected = [], []
    for kernel in KERNELS:
        if kernel.op is not OpKind.CONV_2D:
            continue
        for graph in [
            *(conv_graph(in_shape=(1, pixels, 9), out_c=5) for pixels in (1, 2, 4, 5, 7, 8)),
            *(conv_graph(in_shape=(1, 11, 20), out_c=6, shifts=shifts) for shifts in ((1, 14), (-1, 8))),
            *rectified_graphs(in_shape=(1, 11, 8), out_c=7),
            *rectified_graphs(in_shape=(1, 11, 20), out_c=7),
            *(
                conv_graph(in_shape=(3, width, in_c), out_c=4, kernel=(3, 3), pads=SAME3)
                for width, in_c in ((5, 3), (8, 4), (10, 1))
            ),
        ]:
            context = OpContext(graph, graph.ops[0])
            if kernel.refusals(context):
                continue
            inputs = inputs_for(graph, np.random.default_rng(len(cases)))
            case = case_for(kernel, graph, inputs)
            for blocks in Blocks:
                lowered = with_blocks(case.lowered, blocks)
                shared = overlaps(lowered.access, 4)[0]
                cases += [dataclasses.replace(case, lowered=lowered, overlap=o) for o in (None, shared)]
                expected += [reference.run_op(graph, graph.ops[0], {0: inputs[0]})] * 2
            smallest = with_blocks(case.lowered, Blocks.TWOS)
            assert smallest.scratch_bytes <= case.lowered.scratch_bytes
    for folder, compiler, runner, sources in (
        ("host", ("gcc", "-std=c11", "-O1", "-w"), (), ()),
        ("board", board_compiler("cortex-m4", "-O2"), board_runner("cortex-m4"), SEMIHOSTING_SOURCES),
    ):
        (tmp_path / folder).mkdir()
        program = Program(tmp_path / folder, cases, compiler=compiler, sources=sources)
        outputs = program.run(cases, runner)
        assert all(np.array_equal(a, b) for a, b in zip(outputs, expected, strict=True))


COMPILERS = {
    "gcc": ("gcc", "-std=c11", "-x", "c"),
    "g++": ("g++", "-std=c++11", "-x", "c++"),
    "clang": ("clang", "-std=c11", "-x", "c"),
    "arm M4": ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c11", "-x", "c"),
    "arm M33 C++": ("arm-none-eabi-g++", "-mcpu=cortex-m33", "-mthumb", "-std=c++11", "-x", "c++"),
    "arm M0+": ("arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb", "-std=c11", "-x", "c"),
    "arm clang": (
        *("clang", "--target=arm-none-eabi", "-mcpu=cortex-m4", "-mthumb", "-ffreestanding", "-std=c11"),
        *("-isystem", "/usr/lib/arm-none-eabi/include", "-x", "c"),
    ),
}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_headers_compile_clean(compiler: str, tmp_path: Path) -> None:
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    check_headers(command, [kernel.symbol for kernel in (*KERNELS, *dsp_wide.KERNELS)], tmp_path)


def test_every_dsp_kernel_has_cases() -> None:
    assert set(GENERATORS) == {kernel.symbol for kernel in KERNELS}
    assert {kernel.op for kernel in KERNELS} == {
        OpKind.ADD,
        OpKind.AVERAGE_POOL_2D,
        OpKind.BINARY,
        OpKind.CONV_2D,
        OpKind.DEPTHWISE_CONV_2D,
        OpKind.FULLY_CONNECTED,
        OpKind.MEAN,
        OpKind.MUL,
    }
