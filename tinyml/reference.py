"""Runs a graph in numpy, byte for byte as TensorFlow Lite's reference kernels do.

`run` gives every tensor of a network, `run_op` folds constants, and `run_rows` lets the arena
simulator execute operators a few output rows at a time while it poisons everything else.
Convolutions are float matrix products; they are exact, because every partial sum is an integer
below 2^24 (float32) or 2^53 (float64).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.errors import UsageError
from tinyml.graph import (
    Array,
    DType,
    Graph,
    Op,
    OpKind,
    PadAttrs,
    Pads,
    ReduceAttrs,
    ResizeAttrs,
    TransposeAttrs,
    WindowAttrs,
)

_COLUMN_BYTES = 16 << 20  # im2col buffer; larger images are convolved in bands of rows


def run(graph: Graph, inputs: Mapping[int, Array]) -> dict[int, Array]:
    """Run the whole graph.

    Args:
        graph: any graph, before or after passes.
        inputs: one array per tensor of `graph.inputs`, of its shape and dtype.

    Returns:
        Every tensor that is not a constant, by index.

    Raises:
        UsageError: an input is missing, or has another shape or dtype.
    """
    values: dict[int, Array] = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if index not in inputs:
            raise UsageError(f"no value for input '{tensor.name}'", expected=f"shape {tensor.shape}")
        value = np.asarray(inputs[index])
        if value.shape != tensor.shape or value.dtype != np.dtype(tensor.dtype.value):
            raise UsageError(
                f"wrong value for input '{tensor.name}'",
                expected=f"expected {tensor.dtype.value} {tensor.shape}, "
                f"received {value.dtype} {value.shape}",
            )
        values[index] = value
    for op in graph.ops:
        values[op.outputs[0]] = run_op(graph, op, values)
    return values


def run_op(graph: Graph, op: Op, values: Mapping[int, Array]) -> Array:
    """Run one operator.

    Args:
        graph: the graph it belongs to.
        op: the operator.
        values: its non-constant inputs by tensor index.

    Returns:
        Its output, of the output tensor's shape and dtype.
    """
    operands = [_value(graph, i, values) for i in op.inputs]
    result = _RUNNERS[op.kind](graph, op, operands)
    output = graph.tensors[op.outputs[0]]
    return np.asarray(result, output.dtype.value, order="C").reshape(output.shape)


def _value(graph: Graph, index: int, values: Mapping[int, Array]) -> Array:
    if index < 0:
        return np.zeros(0, np.int32)
    data = graph.tensors[index].data
    return data if data is not None else values[index]


# Convolutions and dense layers


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A layer with weights, prepared for matrix products over raw int8 inputs."""

    matrix: Array  # CONV_2D [groups, depth, out_c/groups], DEPTHWISE [taps, out_c], dense [depth, out_c]
    bias: Array  # int32, the input's zero point folded in
    multiplier: Array
    shift: Array
    zero_point_in: int
    zero_point_out: int
    low: int
    high: int

    def requantize(self, acc: Array, *, single: bool = False) -> Array:
        """Return int8 outputs of accumulators whose last axis is the output channel."""
        rescale = (
            numerics.multiply_by_quantized_multiplier_single
            if single
            else numerics.multiply_by_quantized_multiplier
        )
        scaled = rescale(numerics.wrap_int32(acc.astype(np.int64) + self.bias), self.multiplier, self.shift)
        return np.clip(scaled + self.zero_point_out, self.low, self.high).astype(np.int8)


@lru_cache(maxsize=16)  # row by row, the same layer is asked for again and again
def _layer(graph: Graph, op: Op) -> _Layer:
    weights = graph.tensors[op.inputs[1]].data
    assert weights is not None
    channels = numerics.output_channels(graph, op)
    matrix: Array
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        matrix = weights.reshape(-1, channels).astype(np.int32)
    elif op.kind is OpKind.CONV_2D:
        groups = graph.tensors[op.inputs[0]].shape[3] // weights.shape[3]
        matrix = weights.reshape(groups, channels // groups, -1).transpose(0, 2, 1)
        matrix = np.ascontiguousarray(matrix, _exact_dtype(matrix))
    else:
        matrix = np.ascontiguousarray(weights.T, _exact_dtype(weights.T))
    multiplier, shift = numerics.conv_requant(graph, op)
    low, high = numerics.output_range(graph, op)
    return _Layer(
        matrix,
        numerics.folded_bias(graph, op),
        multiplier,
        shift,
        graph.tensors[op.inputs[0]].zero_point,
        graph.tensors[op.outputs[0]].zero_point,
        low,
        high,
    )


def _exact_dtype(matrix: Array) -> type:
    """Return the float type in which products with int8 inputs add up exactly."""
    largest = 128 * int(np.abs(matrix.astype(np.int64)).sum(axis=-2).max(initial=0))
    return np.float32 if largest < 2**24 else np.float64


def _convolution(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, WindowAttrs)
    return _convolve(_layer(graph, op), op.attrs, operands[0], graph.tensors[op.outputs[0]].shape)


def _convolve(layer: _Layer, attrs: WindowAttrs, x: Array, shape: tuple[int, ...]) -> Array:
    """Return a CONV_2D's output of the given shape; the pads of `attrs` are those around x."""
    batch, out_h, out_w, out_c = shape
    groups, depth, _ = layer.matrix.shape
    dtype = layer.matrix.dtype
    result = np.empty(shape, np.int8)
    band = max(1, _COLUMN_BYTES // max(1, out_w * depth * groups * dtype.itemsize))
    for b in range(batch):
        for top in range(0, out_h, band):
            rows = min(band, out_h - top)
            columns = _im2col(x[b], attrs, top, rows, out_w, layer.zero_point_in, dtype)
            # [pixels, taps, in_c] -> per group [pixels, depth]
            pixels = rows * out_w
            split = columns.reshape(pixels, -1, groups, x.shape[3] // groups)
            acc = np.empty((pixels, groups, out_c // groups), np.int64)
            for g in range(groups):
                acc[:, g] = np.ascontiguousarray(split[:, :, g]).reshape(pixels, depth) @ layer.matrix[g]
            result[b, top : top + rows] = layer.requantize(acc.reshape(rows, out_w, out_c))
    return result


def _im2col(
    image: Array, attrs: WindowAttrs, top: int, rows: int, out_w: int, zero_point: int, dtype: np.dtype[Any]
) -> Array:
    """Return [rows, out_w, kernel_h·kernel_w, channels] input pixels; the zero point outside the image."""
    height, width, channels = image.shape
    taps = attrs.kernel_h * attrs.kernel_w
    if taps == 1 and attrs.stride_w == attrs.stride_h == 1 and attrs.pads == Pads():
        return image[top : top + rows].astype(dtype)
    columns: Array = np.full((rows, out_w, taps, channels), zero_point, dtype)
    for tap, (r_out, c_out, r_in, c_in) in _taps(attrs, top, rows, out_w, height, width):
        columns[r_out, c_out, tap] = image[r_in, c_in]
    return columns


def _taps(
    attrs: WindowAttrs, top: int, rows: int, out_w: int, height: int, width: int
) -> Iterator[tuple[int, tuple[slice, slice, slice, slice]]]:
    """Yield (tap, (output rows, output columns, input rows, input columns)) for taps inside the image."""
    columns = [
        _overlap(kx * attrs.dilation_w - attrs.pads.left, attrs.stride_w, 0, out_w, width)
        for kx in range(attrs.kernel_w)
    ]
    for ky in range(attrs.kernel_h):
        row = _overlap(ky * attrs.dilation_h - attrs.pads.top, attrs.stride_h, top, rows, height)
        if row is None:
            continue
        for kx, column in enumerate(columns):
            if column is not None:
                yield ky * attrs.kernel_w + kx, (row[0], column[0], row[1], column[1])


def _overlap(offset: int, stride: int, first: int, count: int, size: int) -> tuple[slice, slice] | None:
    """Return (outputs, inputs) with 0 <= stride·(first + o) + offset < size for outputs o < count."""
    low = max(0, -(-(-offset - stride * first) // stride))
    high = min(count, (size - 1 - offset) // stride - first + 1)
    if low >= high:
        return None
    start = stride * (first + low) + offset
    return slice(low, high), slice(start, start + stride * (high - low - 1) + 1, stride)


def _depthwise(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, WindowAttrs)
    return _convolve_depthwise(_layer(graph, op), op.attrs, operands[0], graph.tensors[op.outputs[0]].shape)


def _convolve_depthwise(layer: _Layer, attrs: WindowAttrs, x: Array, shape: tuple[int, ...]) -> Array:
    """Return a DEPTHWISE_CONV_2D's output of the given shape; the pads of `attrs` are those around x."""
    _, height, width, in_c = x.shape
    _, out_h, out_w, out_c = shape
    # Zeros outside the image stand for the zero point, so the centred input is what is summed.
    centred = np.repeat(x.astype(np.int32) - layer.zero_point_in, out_c // in_c, axis=3)
    acc = np.zeros(shape, np.int32)
    for tap, (r_out, c_out, r_in, c_in) in _taps(attrs, 0, out_h, out_w, height, width):
        acc[:, r_out, c_out] += centred[:, r_in, c_in] * layer.matrix[tap]
    # The layer's bias already holds -zero_point · Σw, which centring has taken off as well.
    offset = layer.zero_point_in * layer.matrix.sum(axis=0, dtype=np.int64)
    return layer.requantize(acc.astype(np.int64) + offset)


def _fully_connected(graph: Graph, op: Op, operands: list[Array]) -> Array:
    layer = _layer(graph, op)
    x: Array = operands[0].reshape(-1, layer.matrix.shape[0]).astype(layer.matrix.dtype)
    return layer.requantize((x @ layer.matrix).astype(np.int64), single=True)


# Elementwise


def _add(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return add_values(numerics.add_params(graph, op), operands[0], operands[1])


def add_values(p: numerics.AddParams, a: Array, b: Array) -> Array:
    """ADD of int8 arrays that broadcast against each other."""
    requantize = numerics.multiply_by_quantized_multiplier
    first = requantize((a.astype(np.int64) + p.offset_1) << p.left_shift, p.multiplier_1, p.shift_1)
    second = requantize((b.astype(np.int64) + p.offset_2) << p.left_shift, p.multiplier_2, p.shift_2)
    total = requantize(first + second, p.multiplier_out, p.shift_out) + p.offset_out
    return np.clip(total, p.low, p.high).astype(np.int8)


def _mul(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return mul_values(numerics.mul_params(graph, op), operands[0], operands[1])


def mul_values(p: numerics.MulParams, a: Array, b: Array) -> Array:
    """MUL of int8 arrays that broadcast against each other."""
    product = (a.astype(np.int64) + p.offset_1) * (b.astype(np.int64) + p.offset_2)
    scaled = numerics.multiply_by_quantized_multiplier(product, p.multiplier, p.shift) + p.offset_out
    return np.clip(scaled, p.low, p.high).astype(np.int8)


def _quantize(graph: Graph, op: Op, operands: list[Array]) -> Array:
    if graph.tensors[op.inputs[0]].dtype is DType.FLOAT32:
        return numerics.quantize_floats(operands[0], graph.tensors[op.outputs[0]])
    p = numerics.requant_params(graph, op)
    scaled = numerics.multiply_by_quantized_multiplier(
        operands[0].astype(np.int64) + p.offset, p.multiplier, p.shift
    )
    return np.clip(scaled + p.offset_out, p.low, p.high)


def _dequantize(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return numerics.dequantize_values(operands[0], graph.tensors[op.inputs[0]])


# Pooling and reduction


def _pooling(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, WindowAttrs)
    return _pool(graph, op, op.attrs, operands[0], graph.tensors[op.outputs[0]].shape[1])


def _pool(graph: Graph, op: Op, attrs: WindowAttrs, x: Array, out_h: int) -> Array:
    """Return `out_h` output rows of a pooling over x, whose pads are those of `attrs`.

    The average counts only pixels inside the image and rounds half away from zero.

    Source: reference/integer_ops/pooling.h.
    """
    batch, height, width, channels = x.shape
    out_w = graph.tensors[op.outputs[0]].shape[2]
    average = op.kind is OpKind.AVERAGE_POOL_2D
    acc = np.full((batch, out_h, out_w, channels), 0 if average else -128, np.int32)
    count = np.zeros((out_h, out_w, 1), np.int32)
    for _, (r_out, c_out, r_in, c_in) in _taps(
        _clipped_window(attrs, height, width), 0, out_h, out_w, height, width
    ):
        taken = x[:, r_in, c_in].astype(np.int32)
        if average:
            acc[:, r_out, c_out] += taken
            count[r_out, c_out] += 1
        else:
            acc[:, r_out, c_out] = np.maximum(acc[:, r_out, c_out], taken)
    if average:
        acc = _rounded_mean(acc, count)
    low, high = numerics.output_range(graph, op)
    return np.clip(acc, low, high).astype(np.int8)


def _rounded_mean(acc: Array, count: Array) -> Array:
    """Divide sums by their counts, rounding half away from zero."""
    half = count // 2
    acc = np.where(acc > 0, acc + half, acc - half)
    return np.asarray(np.sign(acc) * (np.abs(acc) // np.maximum(count, 1)))


def _clipped_window(attrs: WindowAttrs, height: int, width: int) -> WindowAttrs:
    """Shorten a window that reaches beyond the image for every output, so that few taps are visited."""
    return dataclasses.replace(
        attrs,
        kernel_h=min(attrs.kernel_h, height + attrs.pads.top),
        kernel_w=min(attrs.kernel_w, width + attrs.pads.left),
    )


def _mean(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, ReduceAttrs)
    total = operands[0].sum(axis=op.attrs.axes, dtype=np.int64) if op.attrs.axes else operands[0]
    return _mean_of(graph, op, total)


def _mean_of(graph: Graph, op: Op, total: Array) -> Array:
    """Rescale sums to the mean."""
    p = numerics.mean_params(graph, op)
    scaled = numerics.multiply_by_quantized_multiplier(
        numerics.wrap_int32(total.astype(np.int64) + p.offset), p.multiplier, p.shift
    )
    return np.clip(scaled + p.offset_out, p.low, p.high)


def _softmax(graph: Graph, op: Op, operands: list[Array]) -> Array:
    p = numerics.softmax_params(graph, op)
    x = operands[0].astype(np.int64)
    rows = x.reshape(-1, x.shape[-1])
    exponentials = p.exp_table[rows.max(axis=1, keepdims=True) - rows].astype(np.int64)
    total = numerics.wrap_int32(numerics.rounding_divide_by_pot(exponentials, 12).sum(axis=1, keepdims=True))
    scale, over = numerics.softmax_reciprocal(total)
    product = numerics.saturating_rounding_doubling_high_mul(exponentials, scale)
    return np.clip(numerics.rounding_divide_by_pot(product, over + 23) - 128, -128, 127)


# Layout


def _pad(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, PadAttrs)
    value = graph.tensors[op.outputs[0]].zero_point
    return np.pad(operands[0], op.attrs.paddings, constant_values=value)


def _reshape(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return operands[0]


def _transpose(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, TransposeAttrs)
    return operands[0].transpose(op.attrs.perm)


def _resize(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, ResizeAttrs)
    x = operands[0]
    out_h, out_w = graph.tensors[op.outputs[0]].shape[1:3]
    rows = numerics.resize_indices(x.shape[1], out_h, op.attrs)
    columns = numerics.resize_indices(x.shape[2], out_w, op.attrs)
    return x[:, rows][:, :, columns]


_RUNNERS: Mapping[OpKind, Callable[[Graph, Op, list[Array]], Array]] = {
    OpKind.CONV_2D: _convolution,
    OpKind.DEPTHWISE_CONV_2D: _depthwise,
    OpKind.FULLY_CONNECTED: _fully_connected,
    OpKind.ADD: _add,
    OpKind.MUL: _mul,
    OpKind.AVERAGE_POOL_2D: _pooling,
    OpKind.MAX_POOL_2D: _pooling,
    OpKind.MEAN: _mean,
    OpKind.PAD: _pad,
    OpKind.RESHAPE: _reshape,
    OpKind.TRANSPOSE: _transpose,
    OpKind.SOFTMAX: _softmax,
    OpKind.RESIZE_NEAREST_NEIGHBOR: _resize,
    OpKind.QUANTIZE: _quantize,
    OpKind.DEQUANTIZE: _dequantize,
}


# Row by row


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
        return np.asarray(_mean_of(graph, op, sums)).astype(np.int8)
    _, rows, width, _ = graph.tensors[op.inputs[0]].shape
    mean = _rounded_mean(sums.astype(np.int64), np.full(sums.shape, rows * width))
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
        return _convolve(_layer(graph, op), band, rows, shape)
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        return _convolve_depthwise(_layer(graph, op), band, rows, shape)
    return _pool(graph, op, band, rows, end - first)


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


_IMAGE_RUNNERS: Mapping[OpKind, Callable[[Graph, Op, RowMap, Array, int, int], Array]] = {
    OpKind.CONV_2D: _window_rows,
    OpKind.DEPTHWISE_CONV_2D: _window_rows,
    OpKind.AVERAGE_POOL_2D: _window_rows,
    OpKind.MAX_POOL_2D: _window_rows,
    OpKind.RESIZE_NEAREST_NEIGHBOR: _resize_rows,
}
_FLAT_KINDS = (OpKind.ADD, OpKind.MUL, OpKind.QUANTIZE, OpKind.DEQUANTIZE, OpKind.RESHAPE, OpKind.CONV_2D)


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
    result = _RUNNERS[op.kind](graph, op, slices)
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
    allowed = _allowed(row_map, first, end)
    if not (allowed[0] <= start and stop <= allowed[1]):
        raise ValueError(
            f"{op.kind.value} '{op.name}' needs bytes {start} to {stop} of its input, "
            f"its access map allows {allowed[0]} to {allowed[1]}"
        )
    pixels = values[op.inputs[0]].reshape(-1)[start:stop].reshape(1, -1, 1, in_c)
    return _convolve(_layer(graph, op), attrs, pixels, (1, pixels.shape[1], 1, out_c)).reshape(-1)


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
