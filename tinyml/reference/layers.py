"""Convolutions and dense layers.

Convolutions are float matrix products; they are exact, because every partial sum is an integer
below 2^24 (float32) or 2^53 (float64).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tinyml import numerics
from tinyml.graph import Array, DType, Graph, Op, OpKind, Pads, WindowAttrs
from tinyml.numerics import wide

_COLUMN_BYTES = 16 << 20  # im2col buffer; larger images are convolved in bands of rows


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A layer with weights, prepared for matrix products over raw int8 or int16 inputs."""

    matrix: Array  # CONV_2D [groups, depth, out_c/groups], DEPTHWISE [taps, out_c], dense [depth, out_c]
    bias: Array  # int32, the input's zero point folded in; int64 for int16 inputs
    multiplier: Array  # float64 of int16 FULLY_CONNECTED
    shift: Array
    zero_point_in: int
    zero_point_out: int
    low: int
    high: int
    wide: bool = False  # int16 inputs and outputs

    @property
    def dtype(self) -> type:
        """Of the outputs, and of the inputs."""
        return np.int16 if self.wide else np.int8

    def requantize(self, acc: Array, *, single: bool = False) -> Array:
        """Return outputs of accumulators whose last axis is the output channel."""
        if self.wide and single:
            scaled = wide.dense_rescale(acc.astype(np.int64) + self.bias, self.multiplier)
            return np.clip(scaled, self.low, self.high).astype(np.int16)
        if self.wide:
            scaled = wide.rescale(acc.astype(np.int64) + self.bias, self.multiplier, self.shift)
            return np.clip(scaled, self.low, self.high).astype(np.int16)
        rescale = (
            numerics.multiply_by_quantized_multiplier_single
            if single
            else numerics.multiply_by_quantized_multiplier
        )
        scaled = rescale(numerics.wrap_int32(acc.astype(np.int64) + self.bias), self.multiplier, self.shift)
        return np.clip(scaled + self.zero_point_out, self.low, self.high).astype(np.int8)


@lru_cache(maxsize=16)  # row by row, the same layer is asked for again and again
def layer_of(graph: Graph, op: Op) -> _Layer:
    """Return a layer with its weights, bias and requantisation prepared."""
    x, weights = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]].data
    assert weights is not None
    channels = numerics.output_channels(graph, op)
    matrix: Array
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        matrix = weights.reshape(-1, channels).astype(np.int32)
    elif op.kind is OpKind.CONV_2D:
        groups = graph.tensors[op.inputs[0]].shape[3] // weights.shape[3]
        matrix = weights.reshape(groups, channels // groups, -1).transpose(0, 2, 1)
        matrix = np.ascontiguousarray(matrix, _exact_dtype(matrix, x.dtype))
    else:
        matrix = np.ascontiguousarray(weights.T, _exact_dtype(weights.T, x.dtype))
    low, high = numerics.output_range(graph, op)
    if x.dtype is DType.INT16:
        bias, (factor, right) = wide.layer_bias(graph, op), wide.layer_requant(graph, op)
        if op.kind is OpKind.FULLY_CONNECTED:
            return _Layer(matrix, bias, wide.dense_scale(graph, op), right, 0, 0, low, high, wide=True)
        return _Layer(matrix, bias, factor, right, 0, 0, low, high, wide=True)
    multiplier, shift = numerics.conv_requant(graph, op)
    return _Layer(
        matrix,
        numerics.folded_bias(graph, op),
        multiplier,
        shift,
        x.zero_point,
        graph.tensors[op.outputs[0]].zero_point,
        low,
        high,
    )


def _exact_dtype(matrix: Array, inputs: DType) -> type:
    """Return the float type in which products with int8 or int16 inputs add up exactly."""
    largest = -int(np.iinfo(inputs.value).min) * int(
        np.abs(matrix.astype(np.int64)).sum(axis=-2).max(initial=0)
    )
    return np.float32 if largest < 2**24 else np.float64


def _convolution(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, WindowAttrs)
    return convolve(layer_of(graph, op), op.attrs, operands[0], graph.tensors[op.outputs[0]].shape)


def convolve(layer: _Layer, attrs: WindowAttrs, x: Array, shape: tuple[int, ...]) -> Array:
    """Return a CONV_2D's output of the given shape; the pads of `attrs` are those around x."""
    batch, out_h, out_w, out_c = shape
    groups, depth, _ = layer.matrix.shape
    dtype = layer.matrix.dtype
    result: Array = np.empty(shape, layer.dtype)
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
    for tap, (r_out, c_out, r_in, c_in) in window_taps(attrs, top, rows, out_w, height, width):
        columns[r_out, c_out, tap] = image[r_in, c_in]
    return columns


def window_taps(
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
    return convolve_depthwise(layer_of(graph, op), op.attrs, operands[0], graph.tensors[op.outputs[0]].shape)


def convolve_depthwise(layer: _Layer, attrs: WindowAttrs, x: Array, shape: tuple[int, ...]) -> Array:
    """Return a DEPTHWISE_CONV_2D's output of the given shape; the pads of `attrs` are those around x."""
    _, height, width, in_c = x.shape
    _, out_h, out_w, out_c = shape
    # Zeros outside the image stand for the zero point, so the centred input is what is summed.
    centred = np.repeat(x.astype(np.int32) - layer.zero_point_in, out_c // in_c, axis=3)
    acc = np.zeros(shape, np.int64 if layer.wide else np.int32)
    for tap, (r_out, c_out, r_in, c_in) in window_taps(attrs, 0, out_h, out_w, height, width):
        acc[:, r_out, c_out] += centred[:, r_in, c_in] * layer.matrix[tap]  # int16 · int8 fits int32
    # The layer's bias already holds -zero_point · Σw, which centring has taken off as well.
    offset = layer.zero_point_in * layer.matrix.sum(axis=0, dtype=np.int64)
    return layer.requantize(acc.astype(np.int64) + offset)


def _fully_connected(graph: Graph, op: Op, operands: list[Array]) -> Array:
    layer = layer_of(graph, op)
    x: Array = operands[0].reshape(-1, layer.matrix.shape[0]).astype(layer.matrix.dtype)
    return layer.requantize((x @ layer.matrix).astype(np.int64), single=True)


RUNNERS = {
    OpKind.CONV_2D: _convolution,
    OpKind.DEPTHWISE_CONV_2D: _depthwise,
    OpKind.FULLY_CONNECTED: _fully_connected,
}
