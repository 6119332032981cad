"""The DSP kernels on int16 against numpy: emulated instructions on the host, real ones on emulated boards."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.kernels import kernel_cases, portable_cases, wide_cases
from tests.kernels.dsp_cases import aimed_graphs, conv_graph
from tests.kernels.harness import (
    SANITIZED,
    SEMIHOSTING_SOURCES,
    Program,
    board_compiler,
    board_runner,
    overlaps,
)
from tests.kernels.kernel_cases import case_for, graphs_for, inputs_for
from tests.kernels.simd_work import Work, accepted, work_for
from tests.kernels.wide_cases import widened
from tinyml import reference
from tinyml.graph import Pads
from tinyml.kernels.dsp import Blocks
from tinyml.kernels.dsp_wide import KERNELS, rounds_alike, with_blocks
from tinyml.kernels.registry import Isa, OpContext
from tinyml.numerics import wide
from tinyml.select import select

RANDOM = 24  # graphs per kernel beside the aimed ones, or where there are none:
UNAIMED = 60
GENERATORS = {
    "tm_add_s16_dsp": (wide_cases.same_shape,),
    "tm_mul_s16_dsp": (wide_cases.same_shape,),
    "tm_transpose_conv_s16_dsp": wide_cases.GENERATORS["tm_transpose_conv_s16_c"],
    "tm_conv2d_1x1_s16_dsp": (widened(kernel_cases.pointwise),),
    "tm_conv2d_s16_dsp": (
        *wide_cases.GENERATORS["tm_conv2d_s16_c"],
        *wide_cases.GENERATORS["tm_dwconv2d_s16_c"],
    ),
    "tm_dwconv2d_s16_dsp": wide_cases.GENERATORS["tm_dwconv2d_s16_c"],
    "tm_fully_connected_s16_dsp": wide_cases.GENERATORS["tm_fully_connected_s16_c"],
}


@pytest.fixture(scope="module")
def everything() -> Work:
    rng = np.random.default_rng(16)
    graphs = [widened(lambda _, graph=graph: graph)(rng) for graph in aimed_graphs()]
    pairs = [pair for kernel in KERNELS for pair in accepted(kernel, graphs)]
    for kernel in KERNELS:
        seed = zlib.crc32(kernel.symbol.encode())
        count = RANDOM if any(kernel is aimed for aimed, _ in pairs) else UNAIMED
        pairs += [(kernel, graph) for graph in graphs_for(kernel, GENERATORS[kernel.symbol], count, seed)]
    return work_for(pairs)


def test_the_cases_reach_both_widths_of_sums(everything: Work) -> None:
    for kernel in KERNELS:
        cases = [
            (dict(case.lowered.literals), expected)
            for case, expected in zip(everything.apart, everything.expected, strict=True)
            if case.symbol == kernel.symbol
        ]
        literals = [values for values, _ in cases]
        if "wide" in literals[0]:
            assert {values["wide"] for values in literals} == {0, 1}
        assert {values["lo"] for values in literals} >= {-32768, 0}
        assert any(values["hi"] < 32767 for values in literals)
        outputs = np.concatenate([expected.ravel() for _, expected in cases])
        assert len(np.unique(outputs)) > 1000, kernel.symbol
        assert np.mean(np.abs(outputs.astype(np.int32)) < 32767) > 0.4, f"{kernel.symbol}: outputs saturate"


def test_emulated_instructions_on_the_host(everything: Work, tmp_path: Path) -> None:
    program = Program(tmp_path, everything.apart, compiler=SANITIZED)
    everything.check(program.run(everything.apart))


def test_sharing_memory_at_the_tightest_distance_on_the_host(everything: Work, tmp_path: Path) -> None:
    program = Program(tmp_path, everything.in_place, compiler=("gcc", "-std=c11", "-O1", "-w"))
    everything.check(program.run(everything.in_place))


@pytest.mark.parametrize(
    ("core", "flags"),
    [
        ("cortex-m4", ("-O2",)),
        ("cortex-m4", ("-O2", "-DTM_NO_ASM")),
        ("cortex-m4", ("-Os",)),
        ("cortex-m7", ("-O2",)),
        ("cortex-m33", ("-O2",)),
    ],
    ids=str,
)
def test_real_instructions_on_a_board(
    everything: Work, tmp_path: Path, core: str, flags: tuple[str, ...]
) -> None:
    compiler = board_compiler(core, *flags)
    program = Program(tmp_path, everything.apart, compiler=compiler, sources=SEMIHOSTING_SOURCES)
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", str(program.program)], capture_output=True, text=True, check=True
    ).stdout
    present = set(re.findall(r"\t([a-z0-9]+)\b", listing))
    assert present >= {"smlad", "smlald", "smmulr", "sxtb16", "ssat", "usat"}
    everything.check_both(program.run(everything.both, board_runner(core)))
    program.check_stack(everything.both)


def test_any_division_into_blocks(tmp_path: Path) -> None:
    """Scratch may be traded for instructions: every division gives the same bytes."""
    cases, expected = [], []
    rng = np.random.default_rng(5)
    same = Pads(1, 1, 1, 1)
    graphs = [conv_graph(in_shape=(1, pixels, 9), out_c=5) for pixels in (1, 2, 4, 5, 7, 8)]
    graphs += [
        conv_graph(in_shape=(3, width, in_c), out_c=4, kernel=(3, 3), pads=same)
        for width, in_c in ((5, 3), (8, 4), (10, 1))
    ]
    for graph in (widened(lambda _, graph=graph: graph)(rng) for graph in graphs):
        kernel = next(k for k in KERNELS if not k.refusals(OpContext(graph, graph.ops[0])))
        (x,) = inputs_for(graph, rng)
        case = case_for(kernel, graph, (x,))
        if dict(case.lowered.literals)["wide"]:
            continue
        for blocks in Blocks:
            lowered = with_blocks(case.lowered, blocks)
            shared = overlaps(lowered.access, 4)[0]
            cases += [dataclasses.replace(case, lowered=lowered, overlap=o) for o in (None, shared)]
            expected += [reference.run_op(graph, graph.ops[0], {0: x})] * 2
    assert len(cases) > 60
    program = Program(tmp_path, cases, compiler=("gcc", "-std=c11", "-O1", "-w"))
    assert all(np.array_equal(a, b) for a, b in zip(program.run(cases), expected, strict=True))


def test_a_factor_rounds_as_double_does_or_is_refused() -> None:
    rng = np.random.default_rng(7)
    refused = 0
    for trial in range(120):
        scale, largest = float(2.0 ** rng.uniform(-20, -2)), 1 << 31
        if trial % 3 == 0:  # the product with some sum is a half, or next to one
            half, total = int(rng.integers(0, 2000)) + 0.5, int(rng.integers(1 << 14, 1 << 20))
            scale = float(np.nextafter(half / total, rng.choice([0.0, half / total, 1.0])))
        alike = rounds_alike(scale, largest)
        refused += not alike
        near = np.rint((np.arange(-32768, 32768) + 0.5) / scale).astype(np.int64)
        near = near[np.abs(near) < largest]
        expected = np.clip(wide.dense_rescale(near, np.float64(scale)), -32768, 32767)
        factor = round(scale * 2.0**64)
        rounded = [(int(total) * factor + (1 << 63)) >> 64 for total in near[::61]]
        differs = not np.array_equal(np.clip(rounded, -32768, 32767), expected[::61])
        assert not (alike and differs), scale
        if trial % 3 == 0:
            assert not alike, scale
    assert refused < 60  # two in three are not aimed at a half
    assert not rounds_alike(2.0**-8, largest)
    assert not rounds_alike(0.75, largest)


def test_what_one_kernel_derives_is_not_taken_for_anothers() -> None:
    """Selection asks several kernels about one operator: what it lowers is what the kernel alone lowers."""
    rng = np.random.default_rng(9)
    for generate in dict.fromkeys(g for generators in GENERATORS.values() for g in generators):
        for graph in (generate(rng) for _ in range(40)):
            op = graph.ops[0]
            if op.kind not in {kernel.op for kernel in KERNELS} or graph.tensors[op.outputs[0]].shape[0] > 1:
                continue
            (selection,) = select(graph, (Isa.DSP, Isa.C))
            assert selection.kernel is not None
            assert selection.lowered is not None
            alone = selection.kernel.lower(OpContext(graph, op))
            assert selection.lowered.literals == alone.literals
            for ours, theirs in zip(selection.lowered.constants, alone.constants, strict=True):
                assert np.array_equal(ours.values, theirs.values)


def test_refusing_never_crashes() -> None:
    """Every predicate is asked even where another refuses: other types, no scale, computed operands."""
    rng = np.random.default_rng(3)
    asked = 0
    for generate in dict.fromkeys(itertools.chain.from_iterable(portable_cases.GENERATORS.values())):
        for graph in (generate(rng) for _ in range(4)):
            for kernel in (k for k in KERNELS if k.op is graph.ops[0].kind):
                for tensor in range(len(graph.tensors)):
                    computed = list(graph.tensors)
                    computed[tensor] = dataclasses.replace(computed[tensor], data=None, quant=None)
                    for each in (graph, graph.replace(tensors=tuple(computed))):
                        kernel.refusals(OpContext(each, each.ops[0]))
                        asked += 1
    assert asked > 300


def test_every_kernel_has_cases() -> None:
    assert set(GENERATORS) == {kernel.symbol for kernel in KERNELS}
