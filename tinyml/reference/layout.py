"""Operators that move elements."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.graph import (
    Array,
    BlockAttrs,
    ConcatAttrs,
    GatherAttrs,
    Graph,
    MirrorPadAttrs,
    Op,
    OpKind,
    PadAttrs,
    ResizeAttrs,
    SliceAttrs,
    TransposeAttrs,
)


def _pad(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, PadAttrs)
    return np.pad(operands[0], op.attrs.paddings, constant_values=numerics.pad_value(graph, op))


def _mirror_pad(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, MirrorPadAttrs)
    x = operands[0]
    for axis, padding in enumerate(op.attrs.paddings):
        x = x.take(numerics.mirrored_indices(x.shape[axis], padding, op.attrs.reflect), axis)
    return x


def _slice(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, SliceAttrs)
    x = operands[0]
    sizes = numerics.slice_sizes(op, graph.tensors[op.outputs[0]].shape)
    for axis, (begin, step, size) in enumerate(zip(op.attrs.begin, op.attrs.steps, sizes, strict=True)):
        x = x.take(begin + step * np.arange(size), axis)
    return x


def _concatenation(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, ConcatAttrs)
    outer = int(np.prod(graph.tensors[op.outputs[0]].shape[: op.attrs.axis], dtype=np.int64))
    return np.concatenate([x.reshape(outer, -1) for x in operands], axis=1)


def _gather(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, GatherAttrs)
    data, indices = operands
    axis, batch = op.attrs.axis, op.attrs.batch_dims
    indices = np.clip(indices, 0, data.shape[axis] - 1)
    if not batch:
        return data.take(indices, axis)
    lead = data.shape[:batch]
    pairs = zip(
        data.reshape(-1, *data.shape[batch:]), indices.reshape(-1, *indices.shape[batch:]), strict=True
    )
    taken = [part.take(where, axis - batch) for part, where in pairs]
    return np.stack(taken).reshape(*lead, *taken[0].shape)


def _gather_nd(graph: Graph, op: Op, operands: list[Array]) -> Array:
    data, indices = operands
    where = tuple(np.clip(indices[..., d], 0, data.shape[d] - 1) for d in range(indices.shape[-1]))
    return np.asarray(data[where])


def _tile(graph: Graph, op: Op, operands: list[Array]) -> Array:
    shape = graph.tensors[op.outputs[0]].shape
    x = operands[0].reshape((1,) * (len(shape) - operands[0].ndim) + operands[0].shape)
    return np.tile(x, [m // n for m, n in zip(shape, x.shape, strict=True)])


def _space_to_depth(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, BlockAttrs)
    (b, _), (n, h, w, c) = op.attrs.block, operands[0].shape
    return operands[0].reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5)


def _depth_to_space(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, BlockAttrs)
    (b, _), (n, h, w, c) = op.attrs.block, operands[0].shape
    return operands[0].reshape(n, h, w, b, b, c // (b * b)).transpose(0, 1, 3, 2, 4, 5)


def _space_to_batch(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, BlockAttrs)
    x = _four_dimensions(operands[0])
    fill = numerics.pad_value_of(graph.tensors[op.outputs[0]])
    x = np.pad(x, ((0, 0), *op.attrs.edges, (0, 0)), constant_values=fill)
    (bh, bw), (n, h, w, c) = op.attrs.block, x.shape
    return x.reshape(n, h // bh, bh, w // bw, bw, c).transpose(2, 4, 0, 1, 3, 5)


def _batch_to_space(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, BlockAttrs)
    x = _four_dimensions(operands[0])
    (bh, bw), (n, h, w, c) = op.attrs.block, x.shape
    n //= bh * bw
    x = x.reshape(bh, bw, n, h, w, c).transpose(2, 3, 0, 4, 1, 5).reshape(n, h * bh, w * bw, c)
    (top, bottom), (left, right) = op.attrs.edges
    return x[:, top : h * bh - bottom, left : w * bw - right]


def _four_dimensions(x: Array) -> Array:
    """Return [n, h, c] as [n, h, 1, c]."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], 1, x.shape[2])


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


def _resize_bilinear(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, ResizeAttrs)
    return numerics.bilinear(operands[0], graph.tensors[op.outputs[0]].shape, op.attrs)


RUNNERS = {
    OpKind.BATCH_TO_SPACE_ND: _batch_to_space,
    OpKind.CONCATENATION: _concatenation,
    OpKind.DEPTH_TO_SPACE: _depth_to_space,
    OpKind.GATHER: _gather,
    OpKind.GATHER_ND: _gather_nd,
    OpKind.MIRROR_PAD: _mirror_pad,
    OpKind.PAD: _pad,
    OpKind.RESIZE_BILINEAR: _resize_bilinear,
    OpKind.SLICE: _slice,
    OpKind.SPACE_TO_BATCH_ND: _space_to_batch,
    OpKind.SPACE_TO_DEPTH: _space_to_depth,
    OpKind.TILE: _tile,
    OpKind.RESHAPE: _reshape,
    OpKind.TRANSPOSE: _transpose,
    OpKind.RESIZE_NEAREST_NEIGHBOR: _resize,
}
