"""Pooling, reduction and softmax."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinyml import numerics
from tinyml.graph import Array, Graph, Op, OpKind, ReduceAttrs, WindowAttrs
from tinyml.numerics import wide
from tinyml.reference.layers import window_taps


def _pooling(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, WindowAttrs)
    return pool(graph, op, op.attrs, operands[0], graph.tensors[op.outputs[0]].shape[1])


def pool(graph: Graph, op: Op, attrs: WindowAttrs, x: Array, out_h: int) -> Array:
    """Return `out_h` output rows of a pooling over x, whose pads are those of `attrs`.

    The average counts only pixels inside the image and rounds half away from zero.

    Source: reference/integer_ops/pooling.h.
    """
    batch, height, width, channels = x.shape
    out_w = graph.tensors[op.outputs[0]].shape[2]
    average = op.kind is OpKind.AVERAGE_POOL_2D
    smallest = np.iinfo(x.dtype).min
    acc = np.full((batch, out_h, out_w, channels), 0 if average else smallest, np.int32)
    count = np.zeros((out_h, out_w, 1), np.int32)
    for _, (r_out, c_out, r_in, c_in) in window_taps(
        _clipped_window(attrs, height, width), 0, out_h, out_w, height, width
    ):
        taken = x[:, r_in, c_in].astype(np.int32)
        if average:
            acc[:, r_out, c_out] += taken
            count[r_out, c_out] += 1
        else:
            acc[:, r_out, c_out] = np.maximum(acc[:, r_out, c_out], taken)
    if average:
        acc = rounded_mean(acc, count)
    low, high = numerics.output_range(graph, op)
    return np.clip(acc, low, high).astype(x.dtype)


def rounded_mean(acc: Array, count: Array) -> Array:
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
    return mean_of(graph, op, total)


def mean_of(graph: Graph, op: Op, total: Array) -> Array:
    """Rescale sums to the mean."""
    p = numerics.mean_params(graph, op)
    scaled = numerics.multiply_by_quantized_multiplier(
        numerics.wrap_int32(total.astype(np.int64) + p.offset), p.multiplier, p.shift
    )
    return np.clip(scaled + p.offset_out, p.low, p.high)


def _softmax(graph: Graph, op: Op, operands: list[Array]) -> Array:
    if operands[0].dtype == np.int16:
        rows = operands[0].reshape(-1, operands[0].shape[-1])
        return wide.softmax(rows, *wide.softmax_requant(graph, op))
    p = numerics.softmax_params(graph, op)
    x = operands[0].astype(np.int64)
    rows = x.reshape(-1, x.shape[-1])
    exponentials = p.exp_table[rows.max(axis=1, keepdims=True) - rows].astype(np.int64)
    total = numerics.wrap_int32(numerics.rounding_divide_by_pot(exponentials, 12).sum(axis=1, keepdims=True))
    scale, over = numerics.softmax_reciprocal(total)
    product = numerics.saturating_rounding_doubling_high_mul(exponentials, scale)
    return np.clip(numerics.rounding_divide_by_pot(product, over + 23) - 128, -128, 127)


RUNNERS = {
    OpKind.AVERAGE_POOL_2D: _pooling,
    OpKind.MAX_POOL_2D: _pooling,
    OpKind.MEAN: _mean,
    OpKind.SOFTMAX: _softmax,
}
