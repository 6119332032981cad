"""Values of integer inputs for which every index that the network computes from them lies inside its data.

TensorFlow Lite has no result for an index outside (generated code takes the nearest that exists), so that
random samples have to stay inside. Intervals go through the operators between inputs and indices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tinyml.graph import Array, DType, GatherAttrs, Graph, IntegerAttrs, IntegerFunction, Op, OpKind
from tinyml.reference.integer import FUNCTIONS

Interval = tuple[int, int]
"""The smallest and the largest value."""

_INTEGERS = (DType.INT32, DType.INT64, DType.BOOL)
_MOVES = frozenset(
    (
        OpKind.CAST,
        OpKind.CONCATENATION,
        OpKind.RESHAPE,
        OpKind.SELECT,
        OpKind.SLICE,
        OpKind.TILE,
        OpKind.TRANSPOSE,
    )
)
"""Operators whose values are among those of their inputs."""
_COMPARISONS: Mapping[IntegerFunction, Callable[[Interval, Interval], Interval]] = {
    IntegerFunction.LESS: lambda a, b: (int(a[1] < b[0]), int(a[0] < b[1])),
    IntegerFunction.LESS_EQUAL: lambda a, b: (int(a[1] <= b[0]), int(a[0] <= b[1])),
    IntegerFunction.GREATER: lambda a, b: (int(a[0] > b[1]), int(a[1] > b[0])),
    IntegerFunction.GREATER_EQUAL: lambda a, b: (int(a[0] >= b[1]), int(a[1] >= b[0])),
}


def index_ranges(graph: Graph) -> dict[int, Interval]:
    """Return the values that each input may have which indices are computed from, by tensor."""
    limits = {
        t: limit
        for t in graph.inputs
        if graph.tensors[t].dtype in (DType.INT32, DType.INT64)
        and (limit := _smallest_limit(graph, t)) is not None
    }
    ranges: dict[int, Interval] = {t: (0, limit - 1) for t, limit in limits.items()}
    while ranges:
        below, above = _outside(graph, ranges)
        if below:
            following = {t: (min(2 * low + 1, high), high) for t, (low, high) in ranges.items()}
        elif above:
            following = {t: (low, (low + high) // 2) for t, (low, high) in ranges.items()}
        if not (below or above) or following == ranges:
            break
        ranges = following
    return ranges


def _limits(graph: Graph, op: Op) -> tuple[int, ...]:
    """Return how many there are of what an operator's indices choose from."""
    data, indices = (graph.tensors[t].shape for t in op.inputs)
    return (data[op.attrs.axis],) if isinstance(op.attrs, GatherAttrs) else data[: indices[-1]]


def _smallest_limit(graph: Graph, tensor: int) -> int | None:
    """Return how many there are of what a tensor's values choose from, None where they do not choose."""
    reached, limits = {tensor}, list[int]()
    for op in graph.ops:
        if op.kind in (OpKind.GATHER, OpKind.GATHER_ND) and op.inputs[1] in reached:
            limits += _limits(graph, op)
        if (op.kind in _MOVES or op.kind is OpKind.INTEGER) and reached.intersection(op.inputs):
            reached.update(op.outputs)
    return min(limits, default=None)


def _outside(graph: Graph, inputs: Mapping[int, Interval]) -> tuple[bool, bool]:
    """Return whether some index may be negative, and whether some may be too large."""
    known = dict(inputs)
    for t, tensor in enumerate(graph.tensors):
        if tensor.data is not None and tensor.data.size and tensor.dtype in _INTEGERS:
            known[t] = (int(tensor.data.min()), int(tensor.data.max()))
    below = above = False
    for op in graph.ops:
        if op.kind in (OpKind.GATHER, OpKind.GATHER_ND) and op.inputs[1] in known:
            low, high = known[op.inputs[1]]
            below, above = below or low < 0, above or high >= min(_limits(graph, op))
        elif all(t in known for t in op.inputs):
            operands = [known[t] for t in op.inputs]
            if isinstance(op.attrs, IntegerAttrs):
                known[op.outputs[0]] = _function(op.attrs.function, operands)
            elif op.kind in _MOVES and graph.tensors[op.outputs[0]].dtype in _INTEGERS:
                known[op.outputs[0]] = _joined(op, operands)
    return below, above


def _joined(op: Op, operands: list[Interval]) -> Interval:
    if op.kind is OpKind.SELECT:
        condition, first, second = operands
        operands = {(0, 0): [second], (1, 1): [first]}.get(condition, [first, second])
    return min(low for low, _ in operands), max(high for _, high in operands)


def _function(function: IntegerFunction, operands: list[Interval]) -> Interval:
    """Return the interval of a function: of its values at the ends, and between them at 0."""
    if function in _COMPARISONS:
        return _COMPARISONS[function](operands[0], operands[1])
    if function in (IntegerFunction.EQUAL, IntegerFunction.NOT_EQUAL):
        return 0, 1
    if function is IntegerFunction.FLOOR_MOD:  # of the divisor's sign, and nearer to zero
        low, high = operands[1]
        return min(low + 1, 0), max(high - 1, 0)
    if function is IntegerFunction.FLOOR_DIV and operands[1][0] <= 0 <= operands[1][1]:
        most = max(abs(end) for end in operands[0])
        return -most, most
    ends: list[Array] = [
        np.array(sorted({low, high, *((0,) if low <= 0 <= high else ())}), object) for low, high in operands
    ]
    values = FUNCTIONS[function](*np.meshgrid(*ends))
    least = 0 if function is IntegerFunction.SQUARED_DIFFERENCE else int(values.min())
    return least, int(values.max())
