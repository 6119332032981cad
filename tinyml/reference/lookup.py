"""Functions of one int8 value, by their tables."""

from __future__ import annotations

import numpy as np

from tinyml.graph import Array, FloatFunctionAttrs, Graph, LookupAttrs, Op, OpKind
from tinyml.numerics.lookup import float_function


def _lookup(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, LookupAttrs)
    return np.array(op.attrs.table, np.int8)[operands[0].astype(np.int64) + 128]


def _float_function(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, FloatFunctionAttrs)
    return float_function(op.attrs.function, operands[0], op.attrs.operand)


RUNNERS = {OpKind.LOOKUP: _lookup, OpKind.FLOAT_FUNCTION: _float_function}
