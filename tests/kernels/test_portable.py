"""Every portable kernel against its `_ref`, against numpy, and at its tightest placement."""

from __future__ import annotations

import dataclasses
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.harness import (
    BOARDS,
    RISCV_COMPILER,
    RISCV_RUNNER,
    SEMIHOSTING_SOURCES,
    Array,
    Case,
    Program,
    board_compiler,
    board_runner,
    overlaps,
)
from tests.kernels.kernel_cases import case_for, graphs_for, has_reference, inputs_for, reference_case
from tests.kernels.portable_cases import GENERATORS
from tinyml import reference
from tinyml.graph import DType, Graph
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, Kernel, OpContext

_SYMBOLS = [kernel.symbol for kernel in KERNELS]
PORTABLE = {
    kernel.symbol if _SYMBOLS.count(kernel.symbol) == 1 else f"{kernel.symbol}-{kernel.op}": kernel
    for kernel in KERNELS
    if kernel.isa is Isa.C
}
Work = dict[str, list[tuple[Graph, tuple[Array, ...]]]]
CASES = 150  # random graphs per kernel


def _graphs(kernel: Kernel) -> list[tuple[Graph, tuple[Array, ...]]]:
    seed = zlib.crc32(kernel.symbol.encode())
    rng = np.random.default_rng(seed)
    return [(g, inputs_for(g, rng)) for g in graphs_for(kernel, GENERATORS[kernel.symbol], CASES, seed)]


def _describe(graph: Graph) -> str:
    op = graph.ops[0]
    shapes = [graph.tensors[i].shape for i in (*op.inputs, *op.outputs) if i >= 0]
    return f"{op.kind} {shapes} {op.attrs}"


def _bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


@pytest.fixture(scope="session")
def work() -> Work:
    """Random graphs and inputs of every portable kernel."""
    return {symbol: _graphs(kernel) for symbol, kernel in PORTABLE.items()}


def _wrappers(work: Work) -> list[Case]:
    cases: list[Case] = []
    for symbol, graphs in work.items():
        for graph, inputs in graphs:
            cases.append(case_for(PORTABLE[symbol], graph, inputs))
            if has_reference(graph):
                cases.append(reference_case(graph, inputs))
    return cases


@pytest.fixture(scope="session")
def program(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """One sanitised program with every portable kernel and every reference."""
    return Program(tmp_path_factory.mktemp("portable"), _wrappers(work))


@pytest.fixture(scope="session")
def plain_program(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The same without sanitisers, which stop at the first memcpy within one buffer."""
    compiler = ("gcc", "-std=c11", "-O1", "-w")
    return Program(tmp_path_factory.mktemp("plain"), _wrappers(work), compiler=compiler)


@pytest.mark.parametrize("symbol", PORTABLE)
def test_kernel_equals_its_ref_and_numpy(symbol: str, work: Work, program: Program) -> None:
    graphs = work[symbol]
    outputs = program.run([case_for(PORTABLE[symbol], *pair) for pair in graphs])
    has_ref = has_reference(graphs[0][0])  # operators that are obvious loops already have none
    refs = program.run([reference_case(*pair) for pair in graphs]) if has_ref else outputs
    distinct = set()
    for (graph, inputs), output, ref in zip(graphs, outputs, refs, strict=True):
        free = OpContext(graph, graph.ops[0]).activation_inputs
        values = {t: value.copy() for t, value in zip(free, inputs, strict=True)}  # states are updated
        expected = reference.run_op(graph, graph.ops[0], values)
        assert _bytes(ref) == _bytes(expected), f"{symbol}'s ref: {_describe(graph)}"
        assert _bytes(output) == _bytes(expected), f"{symbol}: {_describe(graph)}"
        distinct |= set(np.unique(output).tolist())
    wanted = 2 if graph.tensors[graph.ops[0].outputs[0]].dtype is DType.BOOL else 100
    assert len(distinct) >= wanted, "the cases do not exercise the output range"


@pytest.mark.parametrize("symbol", PORTABLE)
def test_kernel_honours_its_access_map(symbol: str, work: Work, program: Program) -> None:
    """At the smallest distance the map allows, sharing memory changes nothing."""
    pairs, shared, apart = [], [], []
    for graph, inputs in work[symbol]:
        case = case_for(PORTABLE[symbol], graph, inputs)
        for overlap in overlaps(case.lowered.access):
            pairs.append(graph)
            shared.append(_at(case, overlap))
            apart.append(case)
    for graph, got, expected in zip(pairs, program.run(shared), program.run(apart), strict=True):
        assert _bytes(got) == _bytes(expected), f"{symbol}: {_describe(graph)}"


@pytest.mark.parametrize("symbol", PORTABLE)
def test_overlapping_further_than_the_map_allows_is_noticed(
    symbol: str, work: Work, plain_program: Program
) -> None:
    """Otherwise the test above could not fail. A kernel may have read all before its last bytes, so far."""
    shared, apart = [], []
    for graph, inputs in work[symbol]:
        case = case_for(PORTABLE[symbol], graph, inputs)
        for i, distance in overlaps(case.lowered.access):
            shared.append(_at(case, (i, distance - 4 - case.output_bytes // 2)))
            apart.append(case)
    outputs = zip(plain_program.run(shared), plain_program.run(apart), strict=True)
    assert any(_bytes(got) != _bytes(expected) for got, expected in outputs)


def _at(case: Case, overlap: tuple[int, int]) -> Case:
    """The case with an input and the output in one buffer; wider elements stay aligned."""
    i, distance = overlap
    size = np.dtype(case.output[1]).itemsize
    step = max(size, case.inputs[i].dtype.itemsize) if distance > 0 else size
    distance = -(-distance // step) * step
    return dataclasses.replace(case, overlap=(i, distance))


@pytest.mark.parametrize("optimise", ["-O3", "-Os"])
def test_specialised_calls_equal_general_ones(
    optimise: str,
    work: Work,
    program: Program,
    tmp_path: Path,
) -> None:
    """Generated code passes literals: what the compiler makes of them must not change a byte."""
    cases = [case_for(kernel, *pair) for symbol, kernel in PORTABLE.items() for pair in work[symbol][:4]]
    special = Program(tmp_path, cases, compiler=("gcc", "-std=c11", optimise, "-w"), specialise=True)
    for case, got, expected in zip(cases, special.run(cases), program.run(cases), strict=True):
        assert _bytes(got) == _bytes(expected), case.symbol


@pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)
@pytest.mark.parametrize("core", BOARDS)
def test_thumb_code_in_the_emulator(core: str, work: Work, program: Program, tmp_path: Path) -> None:
    """On every core, the smallest with its library's 64-bit multiplication, within the bound of its stack."""
    cases = [case_for(kernel, *pair) for symbol, kernel in PORTABLE.items() for pair in work[symbol]]
    emulated = Program(tmp_path, cases, compiler=board_compiler(core, "-O2"), sources=SEMIHOSTING_SOURCES)
    for case, got, expected in zip(
        cases, emulated.run(cases, board_runner(core)), program.run(cases), strict=True
    ):
        assert _bytes(got) == _bytes(expected), case.symbol
    emulated.check_stack(cases)


@pytest.mark.skipif(
    not (shutil.which("riscv64-unknown-elf-gcc") and shutil.which("qemu-system-riscv32")),
    reason="needs riscv64-unknown-elf-gcc with picolibc and qemu-system-riscv32 (make setup installs them)",
)
def test_riscv_code_in_the_emulator(work: Work, program: Program, tmp_path: Path) -> None:
    """The portable kernels on the other small architecture: RV32IMC."""
    cases = [case_for(kernel, *pair) for symbol, kernel in PORTABLE.items() for pair in work[symbol]]
    emulated = Program(tmp_path, cases, compiler=RISCV_COMPILER)
    for case, got, expected in zip(cases, emulated.run(cases, RISCV_RUNNER), program.run(cases), strict=True):
        assert _bytes(got) == _bytes(expected), case.symbol
