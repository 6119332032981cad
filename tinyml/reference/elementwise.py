"""Operators on one element, or two, at a time."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.graph import Array, DType, Graph, Op, OpKind


def _add(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return add_values(numerics.add_params(graph, op), operands[0], operands[1])


def add_values(p: numerics.AddParams, a: Array, b: Array) -> Array:
    """ADD of int8 or int16 arrays that broadcast against each other."""
    requantize = numerics.multiply_by_quantized_multiplier
    first = requantize((a.astype(np.int64) + p.offset_1) << p.left_shift, p.multiplier_1, p.shift_1)
    second = requantize((b.astype(np.int64) + p.offset_2) << p.left_shift, p.multiplier_2, p.shift_2)
    total = requantize(first + second, p.multiplier_out, p.shift_out) + p.offset_out
    return np.clip(total, p.low, p.high).astype(a.dtype)


def _mul(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return mul_values(numerics.mul_params(graph, op), operands[0], operands[1])


def mul_values(p: numerics.MulParams, a: Array, b: Array) -> Array:
    """MUL of int8 or int16 arrays that broadcast against each other."""
    product = (a.astype(np.int64) + p.offset_1) * (b.astype(np.int64) + p.offset_2)
    scaled = numerics.multiply_by_quantized_multiplier(product, p.multiplier, p.shift) + p.offset_out
    return np.clip(scaled, p.low, p.high).astype(a.dtype)


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


def _cast(graph: Graph, op: Op, operands: list[Array]) -> Array:
    """CAST: integers wrap; floats are cut off and saturate, NaN to the largest number."""
    x, dtype = operands[0], graph.tensors[op.outputs[0]].dtype
    if x.dtype != np.float32 or dtype in (DType.FLOAT32, DType.BOOL):
        return x.astype(dtype.value)
    info = np.iinfo(dtype.value)
    inside = (x >= float(info.min)) & (x < float(info.max))
    return np.where(inside, np.where(inside, x, 0).astype(dtype.value), np.where(x < 0, info.min, info.max))


RUNNERS = {
    OpKind.ADD: _add,
    OpKind.MUL: _mul,
    OpKind.QUANTIZE: _quantize,
    OpKind.DEQUANTIZE: _dequantize,
    OpKind.CAST: _cast,
}
