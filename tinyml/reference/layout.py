"""Operators that move elements."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.graph import Array, Graph, Op, OpKind, PadAttrs, ResizeAttrs, TransposeAttrs


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


RUNNERS = {
    OpKind.PAD: _pad,
    OpKind.RESHAPE: _reshape,
    OpKind.TRANSPOSE: _transpose,
    OpKind.RESIZE_NEAREST_NEIGHBOR: _resize,
}
