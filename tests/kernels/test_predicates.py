"""What the portable rows refuse, and that refusing never crashes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.kernels.kernel_cases import Rng, convolution, graphs_for, one_op, pooling, softmax
from tests.kernels.portable_cases import GENERATORS
from tinyml.graph import DType, Graph, OpKind, Pads, Quant, Tensor, WindowAttrs
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, Kernel, OpContext

PORTABLE = [kernel for kernel in KERNELS if kernel.isa is Isa.C]


def _refusals(graph: Graph) -> set[str]:
    """Sentences of every portable kernel of the operator; empty where one accepts it."""
    op = graph.ops[0]
    found = [kernel.refusals(OpContext(graph, op)) for kernel in PORTABLE if kernel.op is op.kind]
    return set() if [] in found else {sentence for sentences in found for sentence in sentences}


def _with_tensor(graph: Graph, index: int, **changes: object) -> Graph:
    tensors = list(graph.tensors)
    tensors[index] = dataclasses.replace(tensors[index], **changes)
    return graph.replace(tensors=tuple(tensors))


@pytest.fixture
def conv() -> Graph:
    graph = convolution(np.random.default_rng(1))
    assert _refusals(graph) == set()
    return graph


def test_float_activations(conv: Graph) -> None:
    refusals = _refusals(_with_tensor(conv, 0, dtype=DType.FLOAT32, quant=None))
    assert any("int8 with one scale" in sentence for sentence in refusals)


def test_activations_with_a_scale_per_channel(conv: Graph) -> None:
    quant = Quant((0.1, 0.2), (0, 0))
    assert any("int8 with one scale" in s for s in _refusals(_with_tensor(conv, 0, quant=quant)))


def test_weights_computed_at_run_time(conv: Graph) -> None:
    assert any("Weights must be constant" in s for s in _refusals(_with_tensor(conv, 1, data=None)))


def test_asymmetric_weights(conv: Graph) -> None:
    assert any("zero point 0" in s for s in _refusals(_with_tensor(conv, 1, quant=Quant((0.1,), (3,)))))


def test_several_images(conv: Graph) -> None:
    shape = conv.tensors[0].shape
    assert any("one at a time" in s for s in _refusals(_with_tensor(conv, 0, shape=(2, *shape[1:]))))


def test_pooling_windows_outside_the_image() -> None:
    graph = pooling(np.random.default_rng(2))
    attrs = WindowAttrs(2, 2, pads=Pads(top=2))
    graph = graph.replace(ops=(dataclasses.replace(graph.ops[0], attrs=attrs),))
    assert any("at least one pixel" in s for s in _refusals(graph))


def test_softmax_output_scale() -> None:
    graph = softmax(np.random.default_rng(3))
    assert any("1/256" in s for s in _refusals(_with_tensor(graph, 1, quant=Quant((0.01,), (-128,)))))


def test_softmax_whose_reference_overflows() -> None:
    x = Tensor("x", (1, 4096), DType.INT8, Quant((0.1,), (0,)))
    y = Tensor("y", (1, 4096), DType.INT8, Quant((1 / 256,), (-128,)))
    graph = one_op(OpKind.SOFTMAX, softmax(np.random.default_rng(3)).ops[0].attrs, (x,), y)
    assert any("4,095" in s for s in _refusals(graph))


def _damaged(graph: Graph, rng: Rng) -> Graph:
    """Change one tensor's type, quantisation, batch, rank or data."""
    i = int(rng.integers(len(graph.tensors)))
    tensor = graph.tensors[i]
    changes: list[dict[str, object]] = [
        {"quant": None},
        {"dtype": DType.FLOAT32, "quant": None, "data": None},
        {"dtype": DType.INT16, "data": None},
        {"shape": (2, *tensor.shape[1:]), "data": None},
        {"shape": (*tensor.shape, 1), "data": None},
        {"shape": tensor.shape[1:], "data": None},
        {"quant": Quant((0.1, 0.2), (0, 5))},
        {"data": None},
    ]
    return _with_tensor(graph, i, **changes[int(rng.integers(len(changes)))])


@pytest.mark.parametrize("kernel", PORTABLE, ids=lambda kernel: kernel.symbol)
def test_predicates_answer_for_any_tensors(kernel: Kernel) -> None:
    """All predicates are asked, even where another refuses, so none may rely on another."""
    rng = np.random.default_rng(5)
    refused = 0
    for graph in graphs_for(kernel, GENERATORS[kernel.symbol], 20, 5):
        for _ in range(10):
            damaged = _damaged(graph, rng)
            refused += bool(kernel.refusals(OpContext(damaged, damaged.ops[0])))
    assert refused > 20
