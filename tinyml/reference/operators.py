"""One operator of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tinyml.graph import Array, Graph, Op, OpKind
from tinyml.reference import (
    binary,
    elementwise,
    integer,
    layers,
    layout,
    lookup,
    matrix,
    pooling,
    recurrent,
    reduction,
    wide,
)

Runner = Callable[[Graph, Op, list[Array]], Array]
"""Computes an operator's output from its operands (an empty array where an optional one is absent)."""

RUNNERS: Mapping[OpKind, Runner] = {
    **binary.RUNNERS,
    **integer.RUNNERS,
    **layers.RUNNERS,
    **elementwise.RUNNERS,
    **pooling.RUNNERS,
    **layout.RUNNERS,
    **recurrent.RUNNERS,
    **lookup.RUNNERS,
    **matrix.RUNNERS,
    **reduction.RUNNERS,
    **wide.RUNNERS,
}


def run_op(graph: Graph, op: Op, values: Mapping[int, Array]) -> Array:
    """Run one operator.

    Args:
        graph: the graph it belongs to.
        op: the operator.
        values: its non-constant inputs by tensor index.

    Returns:
        Its output, of the output tensor's shape and dtype.
    """
    operands = [_value(graph, i, values) for i in op.inputs]
    result = RUNNERS[op.kind](graph, op, operands)
    output = graph.tensors[op.outputs[0]]
    return np.asarray(result, output.dtype.value, order="C").reshape(output.shape)


def _value(graph: Graph, index: int, values: Mapping[int, Array]) -> Array:
    if index < 0:
        return np.zeros(0, np.int32)
    data = graph.tensors[index].data
    return data if data is not None else values[index]
