"""Operators run a few rows at a time read only what their access map allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_builder import ModelBuilder
from tinyml import reference
from tinyml.access import AccessMap, RowMap
from tinyml.graph import Array, Graph, Op, OpKind, WindowAttrs
from tinyml.readers import read_model


def _image_map(graph: Graph, op: Op) -> AccessMap:
    """The map of a window or resize: rows of the image."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    rows, row_bytes = x.shape[1], x.shape[2] * x.shape[3]
    if isinstance(op.attrs, WindowAttrs):
        lo = -op.attrs.pads.top
        row_map = RowMap(
            rows, row_bytes, op.attrs.stride_h, lo, lo + (op.attrs.kernel_h - 1) * op.attrs.dilation_h
        )
    else:
        row_map = None
    return AccessMap(y.shape[1], y.shape[2] * y.shape[3], (row_map,))


def _flat_map(graph: Graph, op: Op, row_bytes: int) -> AccessMap:
    """The map of an operator whose rows are equal shares of output and inputs."""
    y = graph.tensors[op.outputs[0]]
    rows = y.size_bytes // row_bytes
    maps = [
        RowMap(rows, t.size_bytes // rows) if t.elements == y.elements or op.kind is OpKind.CONV_2D else None
        for t in (graph.tensors[i] for i in op.inputs)
        if t.data is None
    ]
    return AccessMap(rows, row_bytes, tuple(maps))


def _poisoned(
    graph: Graph, access: AccessMap, op: Op, values: dict[int, Array], step: tuple[int, int]
) -> dict:
    """Return the inputs with every byte that the step must not read replaced by noise."""
    poisoned = {}
    activations = [i for i in op.inputs if i >= 0 and graph.tensors[i].data is None]
    for index, row_map in zip(activations, access.inputs, strict=True):
        value = values[index].copy()
        if row_map is not None:
            raw = value.view(np.uint8).reshape(-1)
            low = row_map.first(step[0]) * row_map.row_bytes
            high = (row_map.last(step[1] - 1) + 1) * row_map.row_bytes
            raw[:low] = np.random.default_rng(0).integers(0, 256, low)
            raw[high:] = np.random.default_rng(1).integers(0, 256, raw.size - high)
        poisoned[index] = value
    return poisoned


def _check(builder: ModelBuilder, tmp_path: Path, access_of: Callable[[Graph, Op], AccessMap]) -> None:
    graph = read_model(builder.save(tmp_path / "m.tflite"))
    (op,) = graph.ops
    access = access_of(graph, op)
    rng = np.random.default_rng(3)
    values = {i: rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs}
    expected = reference.run_op(graph, op, values)
    for size in (1, 2, access.rows):
        parts = []
        for first in range(0, access.rows, size):
            step = (first, min(first + size, access.rows))
            poisoned = _poisoned(graph, access, op, values, step)
            part = reference.run_rows(graph, op, access, poisoned, *step)
            assert part.ndim == 1
            assert part.dtype == expected.dtype
            parts.append(part)
        np.testing.assert_array_equal(np.concatenate(parts), expected.reshape(-1))


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", ["conv2d", "depthwise", "average_pool", "max_pool"])
def test_windows(kind: str, seed: int, tmp_path: Path) -> None:
    b = ModelBuilder(seed)
    x = b.input((1, *(int(n) for n in b.rng.integers(4, 14, 2)), 4))
    kernel, stride = (int(n) for n in b.rng.integers(1, 5, 2)), (int(n) for n in b.rng.integers(1, 4, 2))
    window = {"kernel": tuple(kernel), "stride": tuple(stride), "padding": ("SAME", "VALID")[seed % 2]}
    if kind in ("conv2d", "depthwise") and seed % 2 == 0:
        window["dilation"] = tuple(int(n) for n in b.rng.integers(1, 4, 2))
    y = b.conv2d(x, 3, **window) if kind == "conv2d" else getattr(b, kind)(x, **window)
    b.output(y)
    _check(b, tmp_path, _image_map)


@pytest.mark.parametrize("pixels", [1, 2, 7])
def test_pointwise_convolution_by_pixels(pixels: int, tmp_path: Path) -> None:
    b = ModelBuilder(5)
    b.output(b.conv2d(b.input((1, 6, 7, 5)), 8, kernel=1))
    _check(b, tmp_path, lambda graph, op: _flat_map(graph, op, 8 * pixels))


@pytest.mark.parametrize("other", [(1, 6, 4, 5), (1, 1, 1, 5), (5,), (1,), (1, 6, 1, 1)])
@pytest.mark.parametrize("row_bytes", [1, 5, 20, 24])
@pytest.mark.parametrize("kind", ["add", "mul"])
def test_elementwise_by_any_share(kind: str, row_bytes: int, other: tuple[int, ...], tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(getattr(b, kind)(b.input((1, 6, 4, 5)), b.input(other)))
    _check(b, tmp_path, lambda graph, op: _flat_map(graph, op, row_bytes))


def test_whole_input_operators(tmp_path: Path) -> None:
    for method, arguments in (
        ("fully_connected", (6,)),
        ("softmax", ()),
        ("mean", ([0],)),
        ("transpose", ((1, 0),)),
        ("pad", ([(1, 0), (2, 2)],)),
    ):
        b = ModelBuilder(2)
        b.output(getattr(b, method)(b.input((3, 8)), *arguments))
        _check(
            b,
            tmp_path,
            lambda graph, op: AccessMap(graph.tensors[op.outputs[0]].size_bytes, 1, (None,)),
        )


def test_rows_of_softmax_and_dense_layers(tmp_path: Path) -> None:
    for method, arguments in (("softmax", ()), ("fully_connected", (6,))):
        b = ModelBuilder(2)
        b.output(getattr(b, method)(b.input((5, 8)), *arguments))
        _check(
            b,
            tmp_path,
            lambda graph, op: AccessMap(5, graph.tensors[op.outputs[0]].shape[1], (RowMap(5, 8),)),
        )


def test_resize_by_rows(tmp_path: Path) -> None:
    b = ModelBuilder(2)
    b.output(b.resize_nearest(b.input((1, 4, 5, 3)), (4, 10)))
    _check(b, tmp_path, lambda graph, op: AccessMap(4, 30, (RowMap(4, 15),)))


@pytest.mark.parametrize(
    ("build", "wrong"),
    [
        (lambda b, x: b.conv2d(x, 4, 3), AccessMap(8, 32, (RowMap(8, 32, 1, -1, 0),))),
        (lambda b, x: b.depthwise(x, 1, 3), AccessMap(8, 32, (RowMap(8, 32, 1, 0, 1),))),
        (lambda b, x: b.max_pool(x, 2), AccessMap(4, 16, (RowMap(8, 32, 1, 0, 1),))),
        (lambda b, x: b.conv2d(x, 4, 1), AccessMap(64, 4, (RowMap(64, 4, 1, 1, 1),))),
        (lambda b, x: b.add(x, x), AccessMap(8, 32, (RowMap(8, 32, 1, 1, 1), RowMap(8, 32, 1, 0, 0)))),
        (lambda b, x: b.resize_nearest(x, (16, 8)), AccessMap(16, 32, (RowMap(8, 32),))),
        (lambda b, x: b.transpose(x, (0, 2, 1, 3)), AccessMap(8, 32, (RowMap(8, 32),))),
    ],
)
def test_a_map_that_lies_is_found(build: Callable, wrong: AccessMap, tmp_path: Path) -> None:
    b = ModelBuilder(2)
    x = b.input((1, 8, 8, 4))
    b.output(build(b, x))
    graph = read_model(b.save(tmp_path / "m.tflite"))
    value = np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 4)).astype(np.int8)

    def run_all() -> None:
        for row in range(wrong.rows):
            reference.run_rows(graph, graph.ops[0], wrong, {graph.inputs[0]: value}, row, row + 1)

    with pytest.raises(ValueError, match="access map"):
        run_all()


def test_convolution_without_bias_is_one_with_zeros(tmp_path: Path) -> None:
    """LiteRT insists on a bias for CONV_2D, so the absent one is compared with zeros."""
    results = []
    for bias in (True, False):
        b = ModelBuilder(4)
        x = b.input((1, 5, 5, 3))
        y = b.conv2d(x, 4, bias=bias, out_scale=0.5, out_zero_point=0)
        for record in b.tensors:
            if record.dtype == "int32":
                record.data = bytes(16)
        b.output(y)
        graph = read_model(b.save(tmp_path / "m.tflite"))
        value = np.random.default_rng(0).integers(-128, 128, (1, 5, 5, 3)).astype(np.int8)
        results.append(reference.run(graph, {graph.inputs[0]: value})[graph.outputs[0]])
    np.testing.assert_array_equal(results[0], results[1])
