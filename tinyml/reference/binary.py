"""Operators on two tensors that broadcast, other than ADD and MUL, and SELECT."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tinyml import numerics
from tinyml.graph import Array, BinaryAttrs, BinaryFunction, Graph, Op, OpKind, SelectAttrs
from tinyml.numerics import binary
from tinyml.reference.elementwise import add_values


def _binary(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, BinaryAttrs)
    return _FUNCTIONS[op.attrs.function](graph, op, operands[0], operands[1])


def _sub(graph: Graph, op: Op, a: Array, b: Array) -> Array:
    return add_values(binary.sub_params(graph, op), a, b)


def _squared_difference(graph: Graph, op: Op, a: Array, b: Array) -> Array:
    p = binary.squared_difference_params(graph, op)
    requantize, bits = numerics.multiply_by_quantized_multiplier, binary.SQUARED_DIFFERENCE_LEFT_SHIFT
    first = requantize((a.astype(np.int64) + p.offset_1) << bits, p.multiplier_1, p.shift_1)
    second = requantize((b.astype(np.int64) + p.offset_2) << bits, p.multiplier_2, p.shift_2)
    scaled = requantize((first - second) ** 2, p.multiplier_out, p.shift_out)
    return np.asarray(np.clip(scaled + p.offset_out, -128, 127))


def _div(graph: Graph, op: Op, a: Array, b: Array) -> Array:
    assert isinstance(op.attrs, BinaryAttrs)
    x, divisor, y = (graph.tensors[t] for t in (*op.inputs, *op.outputs))
    return binary.div_values(binary.div_params(x, divisor, y, op.attrs.activation), a, b)


def _prelu(graph: Graph, op: Op, x: Array, alpha: Array) -> Array:
    p = binary.prelu_params(graph, op)
    requantize = numerics.multiply_by_quantized_multiplier
    centred = x.astype(np.int64) + p.offset
    slopes = alpha.astype(np.int64) + p.offset_alpha
    scaled = np.where(
        centred >= 0,
        requantize(centred, p.multiplier_1, p.shift_1),
        requantize(centred * slopes, p.multiplier_2, p.shift_2),
    )
    return np.asarray(np.clip(scaled + p.offset_out, -128, 127))


def _compare(relation: np.ufunc) -> Callable[[Graph, Op, Array, Array], Array]:
    def function(graph: Graph, op: Op, a: Array, b: Array) -> Array:
        p = binary.compare_params(graph, op)
        requantize, bits = numerics.multiply_by_quantized_multiplier, binary.COMPARE_LEFT_SHIFT
        first = requantize((a.astype(np.int64) + p.offset_1) << bits, p.multiplier_1, p.shift_1)
        second = requantize((b.astype(np.int64) + p.offset_2) << bits, p.multiplier_2, p.shift_2)
        return np.asarray(relation(first, second))

    return function


def _raw(function: np.ufunc) -> Callable[[Graph, Op, Array, Array], Array]:
    def of_values(graph: Graph, op: Op, a: Array, b: Array) -> Array:
        return np.asarray(function(a, b))

    return of_values


_FUNCTIONS: Mapping[BinaryFunction, Callable[[Graph, Op, Array, Array], Array]] = {
    BinaryFunction.SUB: _sub,
    BinaryFunction.MINIMUM: _raw(np.minimum),
    BinaryFunction.MAXIMUM: _raw(np.maximum),
    BinaryFunction.SQUARED_DIFFERENCE: _squared_difference,
    BinaryFunction.PRELU: _prelu,
    BinaryFunction.DIV: _div,
    BinaryFunction.EQUAL: _compare(np.equal),
    BinaryFunction.NOT_EQUAL: _compare(np.not_equal),
    BinaryFunction.LESS: _compare(np.less),
    BinaryFunction.LESS_EQUAL: _compare(np.less_equal),
    BinaryFunction.GREATER: _compare(np.greater),
    BinaryFunction.GREATER_EQUAL: _compare(np.greater_equal),
    BinaryFunction.LOGICAL_AND: _raw(np.logical_and),
    BinaryFunction.LOGICAL_OR: _raw(np.logical_or),
}


def _logical_not(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return np.logical_not(operands[0])


def _select(graph: Graph, op: Op, operands: list[Array]) -> Array:
    condition, first, second = operands
    assert isinstance(op.attrs, SelectAttrs)
    if op.attrs.leading_condition:
        condition = condition.reshape(-1, *(1,) * (first.ndim - 1))
    return np.where(condition, first, second)


RUNNERS = {
    OpKind.BINARY: _binary,
    OpKind.LOGICAL_NOT: _logical_not,
    OpKind.SELECT: _select,
}
