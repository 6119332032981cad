"""BATCH_MATMUL in portable C and with DSP instructions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyml.access import AccessMap, RowMap
from tinyml.graph import DType, MatmulAttrs, OpKind, Tensor
from tinyml.kernels.dsp import blocks_for, with_forms
from tinyml.kernels.geometry import strides, walk
from tinyml.kernels.predicates import int8_activations
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext
from tinyml.numerics.matrix import matmul_params

_MOST_PER_SUM = 120
"""Depth for which a part of a row's sum surely fits the 16 bits of an activation in the column: 255 · 120."""


def two_computed(context: OpContext) -> bool:
    """Both operands must be computed by the model."""
    return len(context.activation_inputs) == 2


def right_constant(context: OpContext) -> bool:
    """The right operand must be an int8 constant, the left one computed by the model."""
    return context.activation_inputs == context.op.inputs[:1] and _int8_constant(context.input(1))


def left_constant(context: OpContext) -> bool:
    """The left operand must be an int8 constant, the right one computed by the model."""
    return context.activation_inputs == context.op.inputs[1:] and _int8_constant(context.input(0))


def _int8_constant(tensor: Tensor) -> bool:
    one_scale = tensor.quant is not None and not tensor.quant.per_channel
    return tensor.data is not None and tensor.dtype is DType.INT8 and one_scale


def matrices(context: OpContext) -> bool:
    """The operands must be matrices as deep as each other, in batches that broadcast to the output's."""
    attrs, x, y = context.op.attrs, context.input(0).shape, context.input(1).shape
    assert isinstance(attrs, MatmulAttrs)
    if min(len(x), len(y), len(context.output.shape)) < 2:
        return False
    rows, depth = x[-2:][::-1] if attrs.adj_x else x[-2:]
    depth_y, columns = y[-2:][::-1] if attrs.adj_y else y[-2:]
    try:
        batches = np.broadcast_shapes(x[:-2], y[:-2])
    except ValueError:
        return False
    return depth == depth_y and (*batches, rows, columns) == context.output.shape and len(batches) <= 3


def several_rows(context: OpContext) -> bool:
    """The matrices on the left must have at least three rows."""
    return matrices(context) and _shapes(context).rows >= 3


@dataclass(frozen=True, slots=True)
class _Shapes:
    """A BATCH_MATMUL: `batches` products of [rows, depth] and [depth, columns], as they are multiplied."""

    batch_dims: tuple[int, ...]
    rows: int
    depth: int
    columns: int
    adj_x: bool
    adj_y: bool

    @property
    def batches(self) -> int:
        """Matrices of the output."""
        return math.prod(self.batch_dims)


def _shapes(context: OpContext) -> _Shapes:
    attrs = context.op.attrs
    assert isinstance(attrs, MatmulAttrs)
    *dims, rows, columns = context.output.shape
    depth = context.input(0).shape[-2 if attrs.adj_x else -1]
    return _Shapes(tuple(dims), rows, depth, columns, attrs.adj_x, attrs.adj_y)


def _batch_strides(tensor: Tensor, dims: tuple[int, ...]) -> list[int]:
    """Return the elements from one batch to the next along each dimension, 0 where the tensor repeats."""
    steps = strides(tensor.shape)[:-2]
    padded = [0] * (len(dims) - len(steps)) + [
        0 if size == 1 else step for size, step in zip(tensor.shape[:-2], steps, strict=True)
    ]
    return padded


def _access(context: OpContext, shapes: _Shapes) -> AccessMap:
    """Return the map of a kernel that computes the output's rows one block after another.

    A row of the left operand serves one row of the output; a matrix one batch, where none repeats.
    """

    def operand(i: int, by_rows: bool) -> RowMap | None:
        tensor = context.input(i)
        matrix = shapes.depth * (shapes.columns if i else shapes.rows)
        if tensor.elements != shapes.batches * matrix:
            return None
        if by_rows:
            return RowMap(shapes.batches * shapes.rows, shapes.depth)
        return RowMap(shapes.batches, matrix, div=shapes.rows) if shapes.batches > 1 else None

    maps = [operand(0, not shapes.adj_x), operand(1, False)]
    kept = [m for i, m in enumerate(maps) if context.input(i).data is None]
    return AccessMap(shapes.batches * shapes.rows, shapes.columns, tuple(kept))


def _lower_with(context: OpContext, shapes: _Shapes, more: dict[str, int], scratch: int) -> Lowered:
    p = matmul_params(context.graph, context.op)
    literals = {
        "batches": shapes.batches,
        "rows": shapes.rows,
        "depth": shapes.depth,
        "columns": shapes.columns,
        "adj_x": int(shapes.adj_x),
        "adj_y": int(shapes.adj_y),
        "zp_a": -p.offset_1,
        **more,
        "zp_out": p.offset_out,
    }
    operands = [
        Constant("operand", "int8_t", np.asarray(tensor.data))
        for tensor in (context.input(0), context.input(1))
        if tensor.data is not None
    ]
    return Lowered(
        access=_access(context, shapes),
        constants=(*operands, _walk(context, shapes)),
        literals=tuple(literals.items()),
        scratch_bytes=scratch,
        macs=shapes.batches * shapes.rows * shapes.depth * shapes.columns,
    )


def _walk(context: OpContext, shapes: _Shapes) -> Constant:
    """Return the walk through the batches: with a last dimension of one its runs are single batches."""
    steps = [_batch_strides(context.input(i), shapes.batch_dims) for i in (0, 1)]
    table = walk("geometry", shapes.batch_dims, *steps)
    runs = np.concatenate([table.values[:, 1:], [[1], [0], [0]]], axis=1).astype(np.int32)
    return Constant(table.name, table.ctype, runs, "batches, then the strides of both operands")


def _lower(context: OpContext) -> Lowered:
    shapes = _shapes(context)
    p = matmul_params(context.graph, context.op)
    return _lower_with(
        context, shapes, {"zp_b": -p.offset_2, "multiplier": p.multiplier, "shift": p.shift}, 0
    )


def _lower_dsp(context: OpContext) -> Lowered:
    """Lower to the core of convolutions: the right operand is packed like weights, in scratch."""
    shapes = _shapes(context)
    p = matmul_params(context.graph, context.op)
    form, words = with_forms(np.array([p.multiplier], np.int32), np.array([p.shift], np.int32))
    # The sum of a row of the left operand, times the right one's zero point, comes as more of the depth.
    weight = p.offset_2 if p.offset_2 < 128 else 64
    times = 2 if p.offset_2 == 128 else 1
    parts = 0 if p.offset_2 == 0 else -(-shapes.depth * times // _MOST_PER_SUM)
    groups = -(-shapes.depth // 4) + -(-parts // 4)
    blocks = blocks_for(shapes.rows, 4 * groups, packed=False)
    column = 8 * groups * blocks.most
    pairs, odd = divmod(shapes.columns, 2)
    stream = 4 * (pairs * (2 * groups + 6) + odd * (groups + 3))
    more = {
        "times": times,
        "parts": 4 * -(-parts // 4),
        "weight": weight,
        "blocks": int(blocks),
        "form": int(form),
        "a": int(words[0, 0]),
        "b": int(words[0, 1]),
    }
    return _lower_with(context, shapes, more, column + stream)


def _rows(
    isa: Isa, lower: Callable[[OpContext], Lowered], more: tuple[Callable[[OpContext], bool], ...] = ()
) -> tuple[Kernel, ...]:
    return tuple(
        Kernel(
            f"tm_batch_matmul{name}_s8_{isa}",
            OpKind.BATCH_MATMUL,
            isa,
            lower,
            (int8_activations, accepts, matrices, *more),
        )
        for name, accepts in (("", two_computed), ("_right", right_constant), ("_left", left_constant))
        if isa is Isa.C or name != "_left"
    )


KERNELS: tuple[Kernel, ...] = _rows(Isa.C, _lower)
DSP_KERNELS: tuple[Kernel, ...] = _rows(Isa.DSP, _lower_dsp, (several_rows,))
