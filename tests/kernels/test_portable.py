"""Every portable kernel against its `_ref`, against numpy, and at its tightest placement."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from harness import Array, Case, Program, overlaps
from kernel_cases import GENERATORS, case_for, graphs_for, inputs_for, reference_case

from tinyml import reference
from tinyml.graph import Graph
from tinyml.kernels.convolution import KERNELS as CONVOLUTION
from tinyml.kernels.dense import KERNELS as DENSE
from tinyml.kernels.depthwise import KERNELS as DEPTHWISE
from tinyml.kernels.elementwise import KERNELS as ELEMENTWISE
from tinyml.kernels.layout import KERNELS as LAYOUT
from tinyml.kernels.pooling import KERNELS as POOLING
from tinyml.kernels.quantization import KERNELS as QUANTIZATION
from tinyml.kernels.reduction import KERNELS as REDUCTION
from tinyml.kernels.registry import Kernel, OpContext
from tinyml.kernels.softmax import KERNELS as SOFTMAX

PORTABLE = {
    kernel.symbol: kernel
    for kernel in (
        *CONVOLUTION,
        *DEPTHWISE,
        *DENSE,
        *ELEMENTWISE,
        *POOLING,
        *REDUCTION,
        *SOFTMAX,
        *LAYOUT,
        *QUANTIZATION,
    )
}
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
def work() -> dict[str, list[tuple[Graph, tuple[Array, ...]]]]:
    """Random graphs and inputs of every portable kernel."""
    return {symbol: _graphs(kernel) for symbol, kernel in PORTABLE.items()}


@pytest.fixture(scope="session")
def program(
    work: dict[str, list[tuple[Graph, tuple[Array, ...]]]], tmp_path_factory: pytest.TempPathFactory
) -> Program:
    """One sanitised program with every portable kernel and every reference."""
    cases: list[Case] = []
    for symbol, graphs in work.items():
        for graph, inputs in graphs:
            cases += [case_for(PORTABLE[symbol], graph, inputs), reference_case(graph, inputs)]
    return Program(tmp_path_factory.mktemp("portable"), cases)


@pytest.mark.parametrize("symbol", PORTABLE)
def test_kernel_equals_its_ref_and_numpy(
    symbol: str, work: dict[str, list[tuple[Graph, tuple[Array, ...]]]], program: Program
) -> None:
    graphs = work[symbol]
    outputs = program.run([case_for(PORTABLE[symbol], *pair) for pair in graphs])
    refs = program.run([reference_case(*pair) for pair in graphs])
    distinct = set()
    for (graph, inputs), output, ref in zip(graphs, outputs, refs, strict=True):
        free = OpContext(graph, graph.ops[0]).activation_inputs
        expected = reference.run_op(graph, graph.ops[0], dict(zip(free, inputs, strict=True)))
        assert _bytes(ref) == _bytes(expected), f"{symbol}'s ref: {_describe(graph)}"
        assert _bytes(output) == _bytes(expected), f"{symbol}: {_describe(graph)}"
        distinct |= set(np.unique(output).tolist())
    assert len(distinct) > 100, "the cases do not exercise the output range"


@pytest.mark.parametrize("symbol", PORTABLE)
def test_kernel_honours_its_access_map(
    symbol: str, work: dict[str, list[tuple[Graph, tuple[Array, ...]]]], program: Program
) -> None:
    """At the smallest distance the map allows, sharing memory changes nothing."""
    pairs, shared, apart = [], [], []
    for graph, inputs in work[symbol]:
        case = case_for(PORTABLE[symbol], graph, inputs)
        alignment = max(x.dtype.itemsize for x in inputs)
        for overlap in overlaps(case.lowered.access, alignment if symbol == "tm_dequantize_s8_f32_c" else 1):
            if alignment == 4 and overlap[1] > 0:
                overlap = (overlap[0], -(-overlap[1] // 4) * 4)
            pairs.append(graph)
            shared.append(case_for(PORTABLE[symbol], graph, inputs, overlap))
            apart.append(case)
    for graph, got, expected in zip(pairs, program.run(shared), program.run(apart), strict=True):
        assert _bytes(got) == _bytes(expected), f"{symbol}: {_describe(graph)}"


@pytest.mark.parametrize("optimise", ["-O3", "-Os"])
def test_specialised_calls_equal_general_ones(
    optimise: str,
    work: dict[str, list[tuple[Graph, tuple[Array, ...]]]],
    program: Program,
    tmp_path: Path,
) -> None:
    """Generated code passes literals: what the compiler makes of them must not change a byte."""
    cases = [case_for(kernel, *pair) for symbol, kernel in PORTABLE.items() for pair in work[symbol][:4]]
    special = Program(tmp_path, cases, compiler=("gcc", "-std=c11", optimise, "-w"), specialise=True)
    for case, got, expected in zip(cases, special.run(cases), program.run(cases), strict=True):
        assert _bytes(got) == _bytes(expected), case.symbol
