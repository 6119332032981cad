"""Functions of int32 and int64, as they are computed on token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tinyml.graph import Array, Graph, IntegerAttrs, IntegerFunction, Op, OpKind


def _integer(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, IntegerAttrs)
    with np.errstate(over="ignore"):  # numpy's integers wrap, and warn where they are scalars
        return np.asarray(FUNCTIONS[op.attrs.function](*operands))


def _squared_difference(a: Array, b: Array) -> Array:
    difference = np.subtract(a, b)
    return np.multiply(difference, difference)


FUNCTIONS: Mapping[IntegerFunction, Callable[..., Array]] = {
    IntegerFunction.ADD: np.add,
    IntegerFunction.SUB: np.subtract,
    IntegerFunction.MUL: np.multiply,
    IntegerFunction.SQUARED_DIFFERENCE: _squared_difference,
    IntegerFunction.MINIMUM: np.minimum,
    IntegerFunction.MAXIMUM: np.maximum,
    IntegerFunction.FLOOR_DIV: np.floor_divide,
    IntegerFunction.FLOOR_MOD: np.mod,
    IntegerFunction.EQUAL: np.equal,
    IntegerFunction.NOT_EQUAL: np.not_equal,
    IntegerFunction.LESS: np.less,
    IntegerFunction.LESS_EQUAL: np.less_equal,
    IntegerFunction.GREATER: np.greater,
    IntegerFunction.GREATER_EQUAL: np.greater_equal,
    IntegerFunction.ABS: np.absolute,
    IntegerFunction.NEG: np.negative,
}

RUNNERS = {OpKind.INTEGER: _integer}
