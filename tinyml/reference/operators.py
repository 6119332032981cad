"""One operator of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tinyml.graph import Array, Graph, LoopAttrs, Op, OpKind
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


def _loop(graph: Graph, op: Op, operands: list[Array]) -> Array:
    """WHILE: the body's operators once per step."""
    attrs = op.attrs
    assert isinstance(attrs, LoopAttrs)
    body = attrs.body
    states = body.initial_states()
    for state, first in zip(body.states, operands[attrs.initial :], strict=True):
        if first.size:
            states[state.tensor] = first.copy()
    output = graph.tensors[op.outputs[0]]
    result = np.empty(output.shape, output.dtype.value)
    for n in range(attrs.steps):
        values = dict(states)
        for index, operand, walk in zip(
            body.inputs, operands, (*attrs.walks, *(None,) * len(body.inputs)), strict=False
        ):
            row = operand if walk is None else operand[walk.first + n * walk.step]
            values[index] = row.reshape(body.tensors[index].shape)
        for step in body.ops:
            values[step.outputs[0]] = run_op(body, step, values)
        states.update({state.tensor: values[state.result] for state in body.states})
        computed = values[body.outputs[0]]
        if attrs.collects is None:
            result = computed.reshape(output.shape)
        else:
            at = attrs.collects.first + n * attrs.collects.step
            result[at] = computed.reshape(output.shape[1:])
    return result


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
    OpKind.WHILE: _loop,
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
