"""Kernels with `row_in_place` write the output rows of a call over any input rows of the same call."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.dsp_cases import conv_graph
from tests.kernels.harness import SEMIHOSTING_SOURCES, Case, Program, board_compiler, board_runner
from tests.kernels.kernel_cases import case_for, inputs_for
from tests.kernels.simd_work import Work
from tests.kernels.wide_cases import widened
from tinyml import reference
from tinyml.graph import Graph, Pads
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, Kernel, OpContext

IN_PLACE = [kernel for kernel in KERNELS if kernel.row_in_place]
CORES = {Isa.DSP: "cortex-m4", Isa.MVE: "cortex-m55"}
WINDOWS = [  # kernel, stride, horizontal dilation
    *(((k, k), stride, 1) for k in (3, 5, 7) for stride in (1, 2)),
    ((3, 5), 1, 1),
    ((8, 8), 2, 1),
    ((9, 9), 1, 1),
    ((3, 3), 1, 2),
]


def _one_call(kernel: Kernel, rows: int, window: tuple[tuple[int, int], int, int]) -> Graph:
    """Return a depthwise convolution of so many output rows, of 37 channels and 15 columns, padded beside."""
    (height, width), stride, dilation = window
    side = width // 2 * dilation
    graph = conv_graph(
        in_shape=((rows - 1) * stride + height, 15, 37),
        out_c=37,
        kernel=(height, width),
        stride=(stride, stride),
        dilation=(1, dilation),
        pads=Pads(0, side, 0, side),
        depthwise=True,
    )
    wide = "_s16_" in kernel.symbol
    return widened(lambda _: graph)(np.random.default_rng(0)) if wide else graph


def _work(kernel: Kernel) -> Work:
    """Return calls of the kernel with its output over the input, from each input row on."""
    names, expected, cases = [], [], []
    for window in WINDOWS:
        if kernel.refusals(_context(_one_call(kernel, 1, window))):
            continue
        loop = kernel.lower(_context(_one_call(kernel, 1, window))).loop
        assert loop is not None
        for rows in range(1, loop.step + 1):
            graph = _one_call(kernel, rows, window)
            inputs = inputs_for(graph, np.random.default_rng(len(cases)))
            case = case_for(kernel, graph, inputs)
            output = reference.run_op(graph, graph.ops[0], {0: inputs[0]})
            for name, one in _variants(kernel, case, rows).items():
                assert one.lowered.loop is not None
                for row in range(one.lowered.loop.in_rows):
                    names.append(f"{kernel.symbol} {window}, {rows} rows{name} over input row {row}")
                    expected.append(output)
                    cases.append(_over(one, row))
    assert cases
    return Work(tuple(names), tuple(expected), (), tuple(cases), ())


def _variants(kernel: Kernel, case: Case, rows: int) -> dict[str, Case]:
    """Return the call, and with less scratch where the planner lets that lie in place (RowOp.may_lie_on)."""
    variants = {"": case}
    loop = case.lowered.loop
    assert loop is not None
    if kernel.less_scratch is not None and (rows == 1 or loop.out_row_bytes == loop.in_row_bytes):
        less = kernel.less_scratch(case.lowered)
        assert less.scratch_bytes < case.lowered.scratch_bytes
        variants[" with less scratch"] = dataclasses.replace(case, lowered=less)
    return variants


def _context(graph: Graph) -> OpContext:
    return OpContext(graph, graph.ops[0])


def _over(case: Case, row: int) -> Case:
    assert case.lowered.loop is not None
    return dataclasses.replace(case, overlap=(0, -row * case.lowered.loop.in_row_bytes))


@pytest.mark.parametrize("kernel", IN_PLACE, ids=lambda kernel: kernel.symbol)
def test_output_rows_over_input_rows(kernel: Kernel, tmp_path: Path) -> None:
    work = _work(kernel)
    core = CORES[kernel.isa]
    for folder, compiler, sources, runner in (
        ("host", ("gcc", "-std=c11", "-O1", "-w"), (), ()),
        ("board", board_compiler(core, "-O2"), SEMIHOSTING_SOURCES, board_runner(core)),
    ):
        (tmp_path / folder).mkdir()
        program = Program(tmp_path / folder, work.in_place, compiler=compiler, sources=sources)
        work.check(program.run(work.in_place, runner))
