"""Operators a few output rows at a time, from the input rows that their access map allows.

The arena simulator executes them so while it poisons everything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import Array, Graph, Op, OpKind, Pads, ResizeAttrs, WindowAttrs
from tinyml.reference.layers import convolve, convolve_depthwise, layer_of
from tinyml.reference.matrix import transpose_convolve
from tinyml.reference.operators import RUNNERS, run_op
from tinyml.reference.pooling import mean_of, pool, rounded_mean


def run_rows(
    graph: Graph, op: Op, access: AccessMap, values: Mapping[int, Array], first: int, end: int
) -> Array:
    """Compute output rows [first, end) of an access map from the input rows it allows.

    Args:
        graph: the graph.
        op: the operator.
        access: how its kernel walks output and inputs; rows are byte ranges of dense tensors.
        values: the non-constant inputs by tensor index; bytes outside the allowed rows may hold
            anything.
        first: first output row.
        end: one past the last output row.

    Returns:
        The rows' elements, flat, of the output's dtype.

    Raises:
        ValueError: the map does not cover what the operator reads.
    """
    image_kernel = _IMAGE_RUNNERS.get(op.kind)
    output = graph.tensors[op.outputs[0]]
    if image_kernel is not None and len(output.shape) == 4 and output.shape[0] == 1:
        row_map = access.inputs[0]
        row_elements = output.shape[2] * output.shape[3]
        x = graph.tensors[op.inputs[0]]
        if (
            row_map is not None
            and access.row_bytes == row_elements * output.dtype.size_bytes
            and row_map.row_bytes * x.shape[1] == x.size_bytes
        ):
            return image_kernel(graph, op, row_map, values[op.inputs[0]], first, end).reshape(-1)
    if op.kind in _FLAT_KINDS:
        flat = _run_flat(graph, op, access, values, first, end)
        if flat is not None:
            return flat
    return _run_masked(graph, op, access, values, first, end)


def finish_sums(graph: Graph, op: Op, sums: Array) -> Array:
    """Return the output of a pool over the whole image from the sums of its input.

    Args:
        graph: the graph.
        op: AVERAGE_POOL_2D whose window covers the image, or MEAN.
        sums: [output elements], integers.

    Returns:
        [output elements], int8.
    """
    if op.kind is OpKind.MEAN:
        return np.asarray(mean_of(graph, op, sums)).astype(np.int8)
    _, rows, width, _ = graph.tensors[op.inputs[0]].shape
    mean = rounded_mean(sums.astype(np.int64), np.full(sums.shape, rows * width))
    return np.clip(mean, *numerics.output_range(graph, op)).astype(np.int8)


def _image_rows(x: Array, row_map: RowMap, first: int, end: int) -> tuple[Array, int]:
    """Return the input rows that output rows [first, end) may read, and the index of the first."""
    start, stop = row_map.first(first), row_map.last(end - 1) + 1
    return x[:, start : max(stop, start)], start


def _window_rows(graph: Graph, op: Op, row_map: RowMap, x: Array, first: int, end: int) -> Array:
    attrs = op.attrs
    assert isinstance(attrs, WindowAttrs)
    rows, start = _image_rows(x, row_map, first, end)
    top = first * attrs.stride_h - attrs.pads.top  # input row of the first tap
    last = (end - 1) * attrs.stride_h - attrs.pads.top + (attrs.kernel_h - 1) * attrs.dilation_h
    _check_cover(op, [r for r in (max(top, 0), min(last, x.shape[1] - 1)) if top <= r <= last], rows, start)
    band = dataclasses.replace(attrs, pads=dataclasses.replace(attrs.pads, top=start - top))
    shape = graph.tensors[op.outputs[0]].shape
    shape = (1, end - first, *shape[2:])
    if op.kind is OpKind.CONV_2D:
        return convolve(layer_of(graph, op), band, rows, shape)
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        return convolve_depthwise(layer_of(graph, op), band, rows, shape)
    return pool(graph, op, band, rows, end - first)


def _check_cover(op: Op, needed: list[int], rows: Array, start: int) -> None:
    """Raise where the operator needs an input row that is not among those given."""
    for r in needed:
        if not start <= r < start + rows.shape[1]:
            raise ValueError(
                f"{op.kind.value} '{op.name}' needs input row {r}, "
                f"its access map allows rows {start} to {start + rows.shape[1] - 1}"
            )


def _resize_rows(graph: Graph, op: Op, row_map: RowMap, x: Array, first: int, end: int) -> Array:
    assert isinstance(op.attrs, ResizeAttrs)
    out_h, out_w = graph.tensors[op.outputs[0]].shape[1:3]
    rows, start = _image_rows(x, row_map, first, end)
    needed = numerics.resize_indices(x.shape[1], out_h, op.attrs)[first:end]
    _check_cover(op, [int(r) for r in needed], rows, start)
    columns = numerics.resize_indices(x.shape[2], out_w, op.attrs)
    return rows[:, needed - start][:, :, columns]


def _transpose_convolution_rows(
    graph: Graph, op: Op, row_map: RowMap, x: Array, first: int, end: int
) -> Array:
    rows, start = _image_rows(x, row_map, first, end)
    return transpose_convolve(graph, op, rows, start, first, end)


_IMAGE_RUNNERS: Mapping[OpKind, Callable[[Graph, Op, RowMap, Array, int, int], Array]] = {
    OpKind.CONV_2D: _window_rows,
    OpKind.DEPTHWISE_CONV_2D: _window_rows,
    OpKind.AVERAGE_POOL_2D: _window_rows,
    OpKind.MAX_POOL_2D: _window_rows,
    OpKind.RESIZE_NEAREST_NEIGHBOR: _resize_rows,
    OpKind.TRANSPOSE_CONV: _transpose_convolution_rows,
}
_FLAT_KINDS = (
    OpKind.ADD,
    OpKind.BINARY,
    OpKind.CAST,
    OpKind.CONV_2D,
    OpKind.DEQUANTIZE,
    OpKind.LOGICAL_NOT,
    OpKind.LOOKUP,
    OpKind.MUL,
    OpKind.QUANTIZE,
    OpKind.RESHAPE,
    OpKind.UNARY,
)


def _run_flat(
    graph: Graph, op: Op, access: AccessMap, values: Mapping[int, Array], first: int, end: int
) -> Array | None:
    """Run on a flat range of elements or pixels, or return None where the operator is not of that form."""
    output = graph.tensors[op.outputs[0]]
    low, high = (
        min(r * access.row_bytes, output.size_bytes) // output.dtype.size_bytes for r in (first, end)
    )
    if op.kind is OpKind.CONV_2D:
        return _run_pixels(graph, op, access, values, low, high, first, end)
    slices: list[Array] = []
    maps = iter(access.inputs)
    for index in op.inputs:
        tensor = graph.tensors[index]
        if tensor.data is not None:
            slices.append(np.broadcast_to(tensor.data, output.shape).reshape(-1)[low:high])
            continue
        row_map = next(maps)
        value = values[index]
        if tensor.elements == output.elements and row_map is not None:
            allowed = _allowed(row_map, first, end)
            size = tensor.dtype.size_bytes
            if not (allowed[0] <= low * size and high * size <= allowed[1]):
                raise ValueError(
                    f"{op.kind.value} '{op.name}' needs bytes {low * size} to {high * size} of input "
                    f"'{tensor.name}', its access map allows {allowed[0]} to {allowed[1]}"
                )
            slices.append(value.reshape(-1)[low:high])
        elif row_map is None:
            slices.append(np.broadcast_to(value, output.shape).reshape(-1)[low:high])
        else:
            return None
    result = RUNNERS[op.kind](graph, op, slices)
    return result.astype(output.dtype.value, copy=False)


def _allowed(row_map: RowMap, first: int, end: int) -> tuple[int, int]:
    """Return the input bytes [low, high) that output rows [first, end) may read."""
    return row_map.first(first) * row_map.row_bytes, (row_map.last(end - 1) + 1) * row_map.row_bytes


def _run_pixels(
    graph: Graph,
    op: Op,
    access: AccessMap,
    values: Mapping[int, Array],
    low: int,
    high: int,
    first: int,
    end: int,
) -> Array | None:
    """Run a pointwise convolution on output elements [low, high), whole pixels."""
    attrs = op.attrs
    assert isinstance(attrs, WindowAttrs)
    x = graph.tensors[op.inputs[0]]
    in_c, out_c = x.shape[3], graph.tensors[op.outputs[0]].shape[3]
    row_map = access.inputs[0]
    pointwise = (attrs.kernel_h, attrs.kernel_w, attrs.stride_h, attrs.stride_w) == (1, 1, 1, 1)
    if not pointwise or attrs.pads != Pads() or row_map is None or low % out_c or high % out_c:
        return None
    start, stop = low // out_c * in_c, high // out_c * in_c
    allowed, size = _allowed(row_map, first, end), x.dtype.size_bytes
    if not (allowed[0] <= start * size and stop * size <= allowed[1]):
        raise ValueError(
            f"{op.kind.value} '{op.name}' needs bytes {start * size} to {stop * size} of its input, "
            f"its access map allows {allowed[0]} to {allowed[1]}"
        )
    pixels = values[op.inputs[0]].reshape(-1)[start:stop].reshape(1, -1, 1, in_c)
    return convolve(layer_of(graph, op), attrs, pixels, (1, pixels.shape[1], 1, out_c)).reshape(-1)


def _run_masked(
    graph: Graph, op: Op, access: AccessMap, values: Mapping[int, Array], first: int, end: int
) -> Array:
    """Run the whole operator on inputs whose forbidden bytes are overwritten, and cut out the rows.

    It runs twice, with two patterns; rows that differ read a byte that the map does not allow.
    """
    output = graph.tensors[op.outputs[0]]
    low, high = (
        min(r * access.row_bytes, output.size_bytes) // output.dtype.size_bytes for r in (first, end)
    )
    results = []
    for pattern in (0x80, 0x7F):
        masked: dict[int, Array] = {}
        maps = iter(access.inputs)
        for index in op.inputs:
            if index < 0 or graph.tensors[index].data is not None:
                continue
            row_map = next(maps)
            value = np.ascontiguousarray(values[index])
            if row_map is not None:
                start, stop = _allowed(row_map, first, end)
                raw = np.full(value.nbytes, pattern, np.uint8)
                raw[start:stop] = value.view(np.uint8).reshape(-1)[start:stop]
                value = raw.view(value.dtype).reshape(value.shape)
            # The same tensor may be read twice through different maps: the stricter one wins.
            masked[index] = value if index not in masked else np.where(masked[index] == value, value, pattern)
        results.append(run_op(graph, op, masked).reshape(-1)[low:high])
        if all(m is None for m in access.inputs):
            return results[0]
    if not np.array_equal(results[0], results[1]):
        raise ValueError(
            f"{op.kind.value} '{op.name}': output rows {first} to {end - 1} read input bytes "
            "that their access map does not allow"
        )
    return results[0]
