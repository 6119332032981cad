"""Make one table of operators that together are a function of one int8 value.

A function of one int8 value has 256 results, which the reference evaluates here: an ADD of a constant, a
chain of activations, or x · relu6(x + 3), whose both factors depend on x alone, take one look-up of a byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tinyml import reference
from tinyml.graph import Array, DType, Graph, LookupAttrs, Op, OpKind
from tinyml.passes import edit

_ELEMENTWISE = frozenset(
    (
        OpKind.ADD,
        OpKind.MUL,
        OpKind.QUANTIZE,
        OpKind.LOOKUP,
        OpKind.BINARY,
        OpKind.LOGICAL_NOT,
        OpKind.SELECT,
        OpKind.CAST,
    )
)
_UNARY = frozenset((OpKind.LOOKUP, OpKind.QUANTIZE))
"""Operators on one tensor that have kernels as good as a table: alone they stay what they are."""

_BYTES = (DType.INT8, DType.BOOL)


@dataclasses.dataclass(frozen=True, slots=True)
class _Function:
    """A tensor as a function of another: `values` for the inputs -128 to 127, and what is on the way."""

    root: int
    values: Array
    names: tuple[str, ...] = ()


def fuse_lookups(graph: Graph) -> Graph:
    """Replace operators whose output is a function of one int8 tensor, element by element, by LOOKUPs."""
    return edit.repeat(graph, _fuse_one)


def _fuse_one(graph: Graph) -> Graph | None:
    for i, op in enumerate(graph.ops):
        function = _function_of(graph, op) if op.kind in _ELEMENTWISE else None
        if function is not None:
            attrs = LookupAttrs("+".join(function.names), tuple(int(value) for value in function.values))
            fused = Op(OpKind.LOOKUP, (function.root,), op.outputs, attrs, op.name)
            return edit.replace_op(graph, i, (fused,))
        if op.kind is OpKind.LOOKUP and _is_identity(op):
            changed = edit.bypass(graph, i)
            if changed is not None:
                return changed
    return None


def _is_identity(op: Op) -> bool:
    return isinstance(op.attrs, LookupAttrs) and op.attrs.table == tuple(range(-128, 128))


def _function_of(graph: Graph, op: Op) -> _Function | None:
    """Return an operator's output as a function of one tensor, None where that is none or no better."""
    output = graph.tensors[op.outputs[0]]
    operands = sorted({t for t in op.inputs if t >= 0 and graph.tensors[t].data is None})
    if output.dtype not in _BYTES or any(
        graph.tensors[t].shape != output.shape or graph.tensors[t].dtype not in _BYTES for t in operands
    ):
        return None
    for t in op.inputs:
        data = graph.tensors[t].data if t >= 0 else None
        if data is not None and (data.min() != data.max() or data.dtype not in (np.int8, np.bool_)):
            return None
    functions = _common_root(graph, op, operands)
    if functions is None:
        return None
    names = (*dict.fromkeys(name for f in functions for name in f.names), op.title)
    values = _evaluate(graph, op, operands, functions)
    return _Function(functions[0].root, values, names)


def _common_root(graph: Graph, op: Op, operands: Sequence[int]) -> list[_Function] | None:
    """Return the operands as functions of one int8 tensor, as early as it saves an operator."""
    if not operands:
        return None
    itself = [_Function(t, np.arange(-128, 128)) for t in operands]
    before = [_of_producer(graph, t) for t in operands]
    if len(operands) == 1:
        (t,) = operands
        only = graph.consumers(t) == (next(i for i, other in enumerate(graph.ops) if other is op),)
        if before[0] is not None and (op.kind is OpKind.LOGICAL_NOT or (only and t not in graph.outputs)):
            return [before[0]]
        return itself if op.kind not in _UNARY and graph.tensors[t].dtype is DType.INT8 else None
    for root in sorted({f.root for f in (*itself, *before) if f is not None}):
        if graph.tensors[root].dtype is DType.INT8:
            found = [
                next((f for f in options if f is not None and f.root == root), None)
                for options in zip(itself, before, strict=True)
            ]
            if None not in found:
                return [f for f in found if f is not None]
    return None


def _of_producer(graph: Graph, tensor: int) -> _Function | None:
    """Return a tensor as a function of its producer's only input."""
    index = graph.producer(tensor)
    if index is None or graph.ops[index].kind not in _UNARY:
        return None
    op = graph.ops[index]
    x = graph.tensors[op.inputs[0]]
    if x.dtype is not DType.INT8 or x.data is not None or graph.tensors[tensor].dtype not in _BYTES:
        return None
    values = _evaluate(graph, op, op.inputs, [_Function(op.inputs[0], np.arange(-128, 128))])
    return _Function(op.inputs[0], values, (op.title,))


def _evaluate(graph: Graph, op: Op, operands: Sequence[int], functions: Sequence[_Function]) -> Array:
    """Run an operator on the 256 values of its operands."""
    tensors = list(graph.tensors)
    values = {}
    for t, function in zip(operands, functions, strict=True):
        tensors[t] = dataclasses.replace(tensors[t], shape=(256,))
        values[t] = function.values.astype(tensors[t].dtype.value)
    for t in op.inputs:
        data = tensors[t].data
        if data is not None:
            tensors[t] = dataclasses.replace(tensors[t], shape=(1,), data=data.reshape(-1)[:1])
    tensors[op.outputs[0]] = dataclasses.replace(tensors[op.outputs[0]], shape=(256,))
    return reference.run_op(graph.replace(tensors=tuple(tensors)), op, values)
