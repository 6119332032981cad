"""Which int8 values each channel can take, whatever the inputs: the proof behind `fold_channels`.

An interval per channel (index of the last dimension) goes through the operators in order. Every step
between an accumulator and an int8 value is monotone (a multiplier is not negative; roundings and clamps
keep order), so the ends of an interval map to the ends of the next one, computed by the same functions
that evaluate the network. Where an int32 would wrap, order is lost and the interval is the operator's clamp.

At the border of an image a padded window has fewer taps. Outputs with the same taps inside the image
are alike, so each distinct set of taps is evaluated once and the intervals are joined.

An interval of one value is a constant channel. Sources: weights that are all zero; inputs that are
constant themselves; an activation that clamps every accumulator to the same byte.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tinyml import numerics, reference
from tinyml.graph import (
    Array,
    BinaryAttrs,
    BinaryFunction,
    ConcatAttrs,
    DType,
    Graph,
    LookupAttrs,
    Op,
    OpKind,
    PadAttrs,
    ReduceAttrs,
    SliceAttrs,
    TransposeAttrs,
    WindowAttrs,
)
from tinyml.numerics import Int64Array
from tinyml.numerics.binary import sub_params

WEIGHTED = (OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.FULLY_CONNECTED)


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """The values of a tensor: `low` and `high`, both int64 [channels], inclusive."""

    low: Int64Array
    high: Int64Array

    @property
    def constant(self) -> Array:
        """Which channels have one value: bool [channels]."""
        return np.equal(self.low, self.high)

    def joined(self, other: Range) -> Range:
        """Return the smallest ranges that hold both."""
        return Range(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def regrouped(self, channels: int) -> Range:
        """Return the ranges of the same elements where the last dimension has another length."""
        have = len(self.low)
        if channels % have == 0:
            return Range(np.tile(self.low, channels // have), np.tile(self.high, channels // have))
        rows = channels if have % channels == 0 else 1
        low, high = self.low.reshape(-1, rows).min(axis=0), self.high.reshape(-1, rows).max(axis=0)
        return Range(np.broadcast_to(low, channels), np.broadcast_to(high, channels))


def channel_ranges(graph: Graph) -> dict[int, Range]:
    """Return the range of every int8 tensor, constants included, by tensor index."""
    ranges = {
        i: _of_data(tensor.data)
        for i, tensor in enumerate(graph.tensors)
        if tensor.dtype is DType.INT8 and tensor.data is not None and tensor.data.size
    }
    ranges |= {i: _full(graph, i) for i in graph.sources if graph.tensors[i].dtype is DType.INT8}
    for op in graph.ops:
        output = op.outputs[0]
        if graph.tensors[output].dtype is DType.INT8:
            rule = _RULES.get(op.kind)
            known = rule is not None and op.inputs[0] in ranges
            ranges[output] = rule(graph, op, ranges) if rule and known else _full(graph, output)
    return ranges


def channels_of(graph: Graph, tensor: int) -> int:
    """Return the length of a tensor's last dimension, 1 for a scalar."""
    return graph.tensors[tensor].shape[-1] if graph.tensors[tensor].shape else 1


def has_constant_weights(graph: Graph, op: Op) -> bool:
    """Return whether an operator's weights and bias are what kernels take: constant and symmetric."""
    weights = graph.tensors[op.inputs[1]]
    bias = op.inputs[2] if len(op.inputs) > 2 else -1
    return (
        weights.data is not None
        and weights.dtype is DType.INT8
        and weights.quant is not None
        and not any(weights.quant.zero_point)
        and (bias < 0 or graph.tensors[bias].data is not None)
    )


def border_patterns(attrs: WindowAttrs, in_size: tuple[int, int], out_size: tuple[int, int]) -> Array:
    """Return the distinct sets of taps inside the image: bool [patterns, kernel_h, kernel_w]."""

    def along(out: int, size: int, kernel: int, stride: int, dilation: int, pad: int) -> Array:
        at = np.arange(out)[:, None] * stride - pad + np.arange(kernel) * dilation
        return np.unique((at >= 0) & (at < size), axis=0)

    pads = attrs.pads
    rows = along(out_size[0], in_size[0], attrs.kernel_h, attrs.stride_h, attrs.dilation_h, pads.top)
    columns = along(out_size[1], in_size[1], attrs.kernel_w, attrs.stride_w, attrs.dilation_w, pads.left)
    both: Array = rows[:, None, :, None] & columns[None, :, None, :]
    return both.reshape(-1, attrs.kernel_h, attrs.kernel_w)


def window_patterns(graph: Graph, op: Op) -> Array:
    """Return `border_patterns` of an operator that slides a window."""
    assert isinstance(op.attrs, WindowAttrs)
    (_, in_h, in_w, _), (_, out_h, out_w, _) = (graph.tensors[t].shape for t in (op.inputs[0], op.outputs[0]))
    return border_patterns(op.attrs, (in_h, in_w), (out_h, out_w))


def _full(graph: Graph, tensor: int) -> Range:
    channels = channels_of(graph, tensor)
    return Range(np.full(channels, -128, np.int64), np.full(channels, 127, np.int64))


def _of_data(data: Array) -> Range:
    rows = data.reshape(-1, data.shape[-1] if data.ndim else 1).astype(np.int64)
    return Range(rows.min(axis=0), rows.max(axis=0))


def _rescaled(
    graph: Graph,
    op: Op,
    low: Int64Array,
    high: Int64Array,
    scale: tuple[Array | int, Array | int],
    *,
    single: bool = False,
) -> Range:
    """Return the int8 ranges of accumulators between `low` and `high`, [patterns, channels] or [channels]."""
    multiplier, shift = scale
    rescale = (
        numerics.multiply_by_quantized_multiplier_single
        if single
        else numerics.multiply_by_quantized_multiplier
    )
    clamp = numerics.output_range(graph, op)
    zero_point = graph.tensors[op.outputs[0]].zero_point
    # Beyond these bounds an int32 wraps, in the sum or where it is shifted to the left.
    bound = np.int64(1 << 31) >> np.clip(shift, 0, 31)
    safe = (low > -bound) & (high < bound)
    ends = [
        np.clip(rescale(np.where(safe, end, 0), multiplier, shift) + zero_point, *clamp)
        for end in (low, high)
    ]
    lows, highs = np.where(safe, ends[0], clamp[0]), np.where(safe, ends[1], clamp[1])
    channels = low.shape[-1]
    return Range(lows.reshape(-1, channels).min(axis=0), highs.reshape(-1, channels).max(axis=0))


def _weighted(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    """Layers with weights: sums of weight times centred input over the taps inside the image."""
    if not has_constant_weights(graph, op):
        return _full(graph, op.outputs[0])
    data = graph.tensors[op.inputs[1]].data
    assert data is not None
    weights = data.astype(np.float64)  # exact: every sum is an integer below 2^53
    x, zero_point = ranges[op.inputs[0]], graph.tensors[op.inputs[0]].zero_point
    if op.kind is OpKind.FULLY_CONNECTED:
        x = x.regrouped(weights.shape[1])
        weights = weights[:, None, None, :]
        patterns = np.ones((1, 1, 1), np.bool_)
    else:
        patterns = window_patterns(graph, op)
    low, high = (x.low - zero_point).astype(np.float64), (x.high - zero_point).astype(np.float64)
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        repeat = weights.shape[3] // len(low)
        low, high = np.repeat(low, repeat), np.repeat(high, repeat)
        taps = [
            np.moveaxis(up[0] * a + down[0] * b, 2, 0)
            for up, down, a, b in ((positive, negative, low, high), (positive, negative, high, low))
        ]
    else:
        out_c, kernel_h, kernel_w, depth = weights.shape
        groups = max(len(low) // depth, 1)
        shape = (groups, out_c // groups * kernel_h * kernel_w, depth)
        up, down = positive.reshape(shape), negative.reshape(shape)
        a, b = low.reshape(groups, depth, 1), high.reshape(groups, depth, 1)
        taps = [total.reshape(out_c, kernel_h, kernel_w) for total in (up @ a + down @ b, up @ b + down @ a)]
    bias = numerics.raw_bias(graph, op).astype(np.int64)
    sums = [np.einsum("okl,pkl->po", tap, patterns.astype(np.float64)).astype(np.int64) for tap in taps]
    single = op.kind is OpKind.FULLY_CONNECTED
    return _rescaled(
        graph, op, sums[0] + bias, sums[1] + bias, numerics.conv_requant(graph, op), single=single
    )


def _add(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    p = numerics.add_params(graph, op)
    if max(p.shift_1, p.shift_2, p.shift_out) > 0:  # a shift to the left might wrap
        return _full(graph, op.outputs[0])
    a, b = (_operand(graph, op, t, ranges) for t in op.inputs)
    low, high = reference.add_values(p, a.low, b.low), reference.add_values(p, a.high, b.high)
    return Range(low.astype(np.int64), high.astype(np.int64))


def _mul(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    p = numerics.mul_params(graph, op)
    a, b = (_operand(graph, op, t, ranges) for t in op.inputs)
    corners = [
        (x + p.offset_1) * (y + p.offset_2) for x in (a.low, a.high) for y in (b.low, b.high)
    ]  # a product is linear in each factor
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    return _rescaled(graph, op, low, high, (p.multiplier, p.shift))


def _binary(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    assert isinstance(op.attrs, BinaryAttrs)
    a, b = (_operand(graph, op, t, ranges) for t in op.inputs)
    match op.attrs.function:
        case BinaryFunction.SUB:
            p = sub_params(graph, op)
            low, high = reference.add_values(p, a.low, b.high), reference.add_values(p, a.high, b.low)
            return Range(low.astype(np.int64), high.astype(np.int64))
        case BinaryFunction.MINIMUM:
            return Range(np.minimum(a.low, b.low), np.minimum(a.high, b.high))
        case BinaryFunction.MAXIMUM:
            return Range(np.maximum(a.low, b.low), np.maximum(a.high, b.high))
        case _:
            return _full(graph, op.outputs[0])


def _lookup(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    """The smallest and the largest entry between the ends of an interval: a table need not be monotone."""
    assert isinstance(op.attrs, LookupAttrs)
    x, table = ranges[op.inputs[0]], np.array(op.attrs.table, np.int64)
    pairs = np.stack([x.low, x.high], axis=1)
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    entries = [table[low + 128 : high + 129] for low, high in distinct]
    low, high = (np.array([end(e) for e in entries])[which.reshape(-1)] for end in (np.min, np.max))
    return Range(low, high)


def _operand(graph: Graph, op: Op, tensor: int, ranges: Mapping[int, Range]) -> Range:
    """Return an operand's ranges per channel of the output; it may repeat along it."""
    channels = channels_of(graph, op.outputs[0])
    x = ranges.get(tensor)
    return _full(graph, op.outputs[0]) if x is None else x.regrouped(channels)


def _quantize(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    p = numerics.requant_params(graph, op)
    x = ranges[op.inputs[0]]
    return _rescaled(graph, op, x.low + p.offset, x.high + p.offset, (p.multiplier, p.shift))


def _pool(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    """An average or a maximum lies between its elements; a window beside the image would have none."""
    if not window_patterns(graph, op).any(axis=(1, 2)).all():
        return _full(graph, op.outputs[0])
    x, clamp = ranges[op.inputs[0]], numerics.output_range(graph, op)
    return Range(np.clip(x.low, *clamp), np.clip(x.high, *clamp))


def _mean(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    assert isinstance(op.attrs, ReduceAttrs)
    if len(graph.tensors[op.inputs[0]].shape) - 1 in op.attrs.axes:
        return _full(graph, op.outputs[0])
    p, x = numerics.mean_params(graph, op), ranges[op.inputs[0]]
    low, high = x.low * p.count + p.offset, x.high * p.count + p.offset
    return _rescaled(graph, op, low, high, (p.multiplier, p.shift))


def _reshape(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    return ranges[op.inputs[0]].regrouped(channels_of(graph, op.outputs[0]))


def _pad(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    assert isinstance(op.attrs, PadAttrs)
    x, value = ranges[op.inputs[0]], int(numerics.pad_value(graph, op))
    padding = Range(np.full_like(x.low, value), np.full_like(x.high, value))
    if any(before or after for before, after in op.attrs.paddings[:-1]):
        x = x.joined(padding)
    low, high = (np.pad(end, op.attrs.paddings[-1], constant_values=value) for end in (x.low, x.high))
    return Range(low, high)


def _transpose(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    assert isinstance(op.attrs, TransposeAttrs)
    perm, x = op.attrs.perm, ranges[op.inputs[0]]
    last = not perm or perm[-1] == len(perm) - 1
    return x if last else x.regrouped(1).regrouped(channels_of(graph, op.outputs[0]))


def _same(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    """Every element of a channel is one of the same channel, or lies between such."""
    return ranges[op.inputs[0]]


def _concatenation(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    assert isinstance(op.attrs, ConcatAttrs)
    parts = [ranges.get(t, _full(graph, t)) for t in op.inputs]
    output, axis = graph.tensors[op.outputs[0]], op.attrs.axis
    if any(len(graph.tensors[t].shape) != len(output.shape) for t in op.inputs):  # PACK
        return _full(graph, op.outputs[0])
    if axis == len(output.shape) - 1:
        low, high = (np.concatenate([getattr(part, end) for part in parts]) for end in ("low", "high"))
        return Range(low, high)
    return functools.reduce(Range.joined, parts)


def _slice(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Range:
    assert isinstance(op.attrs, SliceAttrs)
    x, output = ranges[op.inputs[0]], graph.tensors[op.outputs[0]]
    if not output.shape or not op.attrs.axes or op.attrs.axes[-1] != len(output.shape) - 1:
        return _full(graph, op.outputs[0])
    taken = op.attrs.begin[-1] + op.attrs.steps[-1] * np.arange(output.shape[-1])
    return Range(x.low[taken], x.high[taken])


_RULES: Mapping[OpKind, Callable[[Graph, Op, Mapping[int, Range]], Range]] = {
    OpKind.CONV_2D: _weighted,
    OpKind.DEPTHWISE_CONV_2D: _weighted,
    OpKind.FULLY_CONNECTED: _weighted,
    OpKind.ADD: _add,
    OpKind.MUL: _mul,
    OpKind.AVERAGE_POOL_2D: _pool,
    OpKind.MAX_POOL_2D: _pool,
    OpKind.MEAN: _mean,
    OpKind.PAD: _pad,
    OpKind.RESHAPE: _reshape,
    OpKind.TRANSPOSE: _transpose,
    OpKind.RESIZE_NEAREST_NEIGHBOR: _same,
    OpKind.RESIZE_BILINEAR: _same,
    OpKind.CONCATENATION: _concatenation,
    OpKind.SLICE: _slice,
    OpKind.BATCH_TO_SPACE_ND: _same,
    OpKind.QUANTIZE: _quantize,
    OpKind.BINARY: _binary,
    OpKind.LOOKUP: _lookup,
}
