"""TRANSPOSE_CONV and BATCH_MATMUL."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.graph import Array, Graph, MatmulAttrs, Op, OpKind, WindowAttrs
from tinyml.numerics import wide
from tinyml.numerics.matrix import matmul_params


def _transpose_convolution(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return transpose_convolve(graph, op, operands[0], 0, 0, graph.tensors[op.outputs[0]].shape[1])


def transpose_convolve(graph: Graph, op: Op, x: Array, start: int, first: int, end: int) -> Array:
    """Return output rows [first, end) of a TRANSPOSE_CONV.

    Args:
        graph: the graph.
        op: the operator.
        x: input rows from `start` on.
        start: the row of the input that x begins with.
        first: first output row.
        end: one past the last output row.

    Raises:
        ValueError: the output rows need an input row that is not among those given.
    """
    attrs = op.attrs
    assert isinstance(attrs, WindowAttrs)
    source, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    weights = graph.tensors[op.inputs[1]].data
    assert weights is not None
    _, height, in_w, _ = source.shape
    batch, _, out_w, out_c = output.shape
    taps = weights.astype(np.float64).transpose(1, 2, 3, 0)  # exact: sums are integers below 2^53
    # Output columns beyond both sides take what falls outside.
    reach = (in_w - 1) * attrs.stride_w + attrs.kernel_w
    acc = np.zeros((batch, end - first, max(reach, attrs.pads.left + out_w), out_c))
    for oy in range(first, end):
        for ky in range(attrs.kernel_h):
            iy, phase = divmod(oy + attrs.pads.top - ky, attrs.stride_h)
            if phase or not 0 <= iy < height:
                continue
            if not start <= iy < start + x.shape[1]:
                raise ValueError(
                    f"{op.kind.value} '{op.name}' needs input row {iy}, which its map does not allow"
                )
            row = x[:, iy - start].astype(np.float64) - source.zero_point
            for kx in range(attrs.kernel_w):
                acc[:, oy - first, kx : kx + (in_w - 1) * attrs.stride_w + 1 : attrs.stride_w] += (
                    row @ taps[ky, kx]
                )
    inside = acc[:, :, attrs.pads.left : attrs.pads.left + out_w].astype(np.int64)
    if x.dtype == np.int16:
        sums = inside + wide.layer_bias(graph, op)
        scaled = wide.rescale(sums, *wide.layer_requant(graph, op))
        return np.clip(scaled, *numerics.output_range(graph, op)).astype(np.int16)
    sums = numerics.wrap_int32(inside + numerics.raw_bias(graph, op))
    scaled = numerics.multiply_by_quantized_multiplier(sums, *numerics.conv_requant(graph, op))
    return np.clip(scaled + output.zero_point, *numerics.output_range(graph, op)).astype(np.int8)


def _matmul(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, MatmulAttrs)
    p = matmul_params(graph, op)
    a, b = (
        (x.astype(np.float64) + offset)  # exact: sums are integers below 2^53
        for x, offset in zip(operands, (p.offset_1, p.offset_2), strict=True)
    )
    a = a.swapaxes(-1, -2) if op.attrs.adj_x else a
    b = b.swapaxes(-1, -2) if op.attrs.adj_y else b
    sums = numerics.wrap_int32((a @ b).astype(np.int64))
    scaled = numerics.multiply_by_quantized_multiplier(sums, p.multiplier, p.shift)
    return np.clip(scaled + p.offset_out, p.low, p.high)


RUNNERS = {
    OpKind.BATCH_MATMUL: _matmul,
    OpKind.TRANSPOSE_CONV: _transpose_convolution,
}
