"""Float tensors that are only moved between DEQUANTIZE and QUANTIZE become int8.

Converters leave such islands around what a streaming network remembers: a variable is float, so its value is
dequantised, joined with the new samples, and quantised again. Moving commutes with a function of one element:
every value of the island may be quantised where it enters, by a table of the 256 values it can have there.

They also leave functions in float that int8 operators cannot express, ELU and the NEG of every layer
normalisation: between DEQUANTIZE and QUANTIZE they are such tables as well. A bool that becomes a number, as
a mask does, begins such an island too: its table has two entries that matter.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tinyml import numerics
from tinyml.graph import (
    Array,
    DType,
    FloatFunctionAttrs,
    Graph,
    LookupAttrs,
    NoAttrs,
    Op,
    OpKind,
    PadAttrs,
    Quant,
    Tensor,
)
from tinyml.numerics.lookup import float_function
from tinyml.passes import edit

_MOVES = frozenset(
    (
        OpKind.CONCATENATION,
        OpKind.SLICE,
        OpKind.RESHAPE,
        OpKind.TRANSPOSE,
        OpKind.PAD,
        OpKind.TILE,
        OpKind.SPACE_TO_DEPTH,
        OpKind.DEPTH_TO_SPACE,
        OpKind.RESIZE_NEAREST_NEIGHBOR,
    )
)


def quantise_islands(graph: Graph) -> Graph:
    """Replace every island whose values are all quantised alike where they leave it, and float functions."""
    return edit.repeat(edit.repeat(graph, _tabulate_one), _quantise_one)


def _tabulate_one(graph: Graph) -> Graph | None:
    """Let a QUANTIZE of a function of one int8 or bool tensor, or its comparison, look it up."""
    for i, op in enumerate(graph.ops):
        output = graph.tensors[op.outputs[0]]
        compares = op.kind is OpKind.FLOAT_FUNCTION and output.dtype is DType.BOOL
        if not compares and (op.kind is not OpKind.QUANTIZE or output.dtype is not DType.INT8):
            continue
        function = _function_of(graph, op.outputs[0] if compares else op.inputs[0])
        if function is None or not function[2]:
            continue
        root, values, names = function
        table = tuple(int(v) for v in (values if compares else numerics.quantize_floats(values, output)))
        attrs = LookupAttrs("+".join(names), table)
        source = graph.tensors[root]
        if source.shape == output.shape:
            return edit.replace_op(graph, i, (Op(OpKind.LOOKUP, (root,), op.outputs, attrs, op.name),))
        view = dataclasses.replace(source, name=output.name, shape=output.shape)
        graph, new = edit.add_tensor(graph, view)
        ops = (
            Op(OpKind.RESHAPE, (root,), (new,), NoAttrs(), op.name),
            Op(OpKind.LOOKUP, (new,), op.outputs, attrs, op.name),
        )
        return edit.replace_op(graph, i, ops)
    return None


def _function_of(graph: Graph, tensor: int) -> tuple[int, Array, tuple[str, ...]] | None:
    """Return (tensor of bytes, values for -128 to 127, names) of what a tensor is a float function of."""
    index = graph.producer(tensor)
    if index is None:
        return None
    op = graph.ops[index]
    source = graph.tensors[op.inputs[0]]
    if op.kind is OpKind.DEQUANTIZE:
        every = np.arange(-128, 128, dtype=np.int8)
        return (
            (op.inputs[0], numerics.dequantize_values(every, source), ())
            if source.dtype is DType.INT8
            else None
        )
    if op.kind is OpKind.CAST and source.dtype is DType.BOOL:
        return op.inputs[0], (np.arange(-128, 128) != 0).astype(np.float32), ("CAST",)
    if op.kind not in (OpKind.FLOAT_FUNCTION, OpKind.RESHAPE):
        return None
    inner = _function_of(graph, op.inputs[0])
    if inner is None or not isinstance(op.attrs, FloatFunctionAttrs):
        return inner
    root, values, names = inner
    values = float_function(op.attrs.function, values, op.attrs.operand)
    return root, values, (*names, op.attrs.function)


def _quantise_one(graph: Graph) -> Graph | None:
    for op in graph.ops:
        if op.kind is OpKind.QUANTIZE and graph.tensors[op.inputs[0]].dtype is DType.FLOAT32:
            island = _island(graph, op.inputs[0])
            quant = _quant(graph, island)
            if quant is not None:
                return _replaced(graph, island, quant)
    return None


def _moves(graph: Graph, op: Op) -> bool:
    """Whether an operator moves floats and changes none; padding adds zeros."""
    adds = isinstance(op.attrs, PadAttrs) and op.attrs.value is not None
    return op.kind in _MOVES and not adds and graph.tensors[op.outputs[0]].dtype is DType.FLOAT32


def _island(graph: Graph, start: int) -> set[int]:
    """Return the float tensors that moves and states connect with one."""
    links = [{*op.inputs, *op.outputs} for op in graph.ops if _moves(graph, op)]
    links += [{state.tensor, state.result} for state in graph.states]
    island: set[int] = {start}
    while True:
        reached = island.union(*(link for link in links if link & island))
        if reached == island:
            return island
        island = reached


def _quant(graph: Graph, island: set[int]) -> Quant | None:
    """Return how all of an island is quantised where it is left; None where it has to stay float."""
    if island.intersection((*graph.inputs, *graph.outputs)):
        return None
    quants: set[Quant | None] = set()
    for op in graph.ops:
        if island.intersection(op.outputs) and not _moves(graph, op):
            source = graph.tensors[op.inputs[0]]
            if op.kind is not OpKind.DEQUANTIZE or source.dtype is not DType.INT8:
                return None
        if island.intersection(op.inputs) and not _moves(graph, op):
            output = graph.tensors[op.outputs[0]]
            if op.kind is not OpKind.QUANTIZE or output.dtype is not DType.INT8:
                return None
            quants.add(output.quant)
    return quants.pop() if len(quants) == 1 else None


def _replaced(graph: Graph, island: set[int], quant: Quant) -> Graph:
    int8 = Tensor("", (), DType.INT8, quant)  # what every tensor of the island is like
    tensors, source = list(graph.tensors), list(edit.source_index(graph))
    for t in island:
        data = tensors[t].data
        values = None if data is None else numerics.quantize_floats(data, int8)
        tensors[t] = dataclasses.replace(tensors[t], dtype=DType.INT8, quant=quant, data=values)
        source[t] = -1
    ops = []
    for op in graph.ops:
        if op.kind is OpKind.DEQUANTIZE and op.outputs[0] in island:
            op = _entering(graph.tensors[op.inputs[0]], int8, op)
        elif op.kind is OpKind.QUANTIZE and op.inputs[0] in island:
            op = dataclasses.replace(op, kind=OpKind.RESHAPE, attrs=NoAttrs())  # the same bytes
        ops.append(op)
    states = [
        dataclasses.replace(state, initial=numerics.quantize_floats(state.initial, int8))
        if state.tensor in island
        else state
        for state in graph.states
    ]
    return graph.replace(
        tensors=tuple(tensors), ops=tuple(ops), states=tuple(states), source_index=tuple(source)
    )


def _entering(source: Tensor, target: Tensor, op: Op) -> Op:
    """Return the operator that quantises what it dequantised: a table, or a view where nothing changes."""
    if source.quant == target.quant:
        return dataclasses.replace(op, kind=OpKind.RESHAPE, attrs=NoAttrs())
    every = np.arange(-128, 128, dtype=np.int8)
    values = numerics.quantize_floats(numerics.dequantize_values(every, source), target)
    table = tuple(int(v) for v in values)
    return dataclasses.replace(op, kind=OpKind.LOOKUP, attrs=LookupAttrs("QUANTIZE", table))
