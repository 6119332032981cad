"""What one step of a loop computes goes through the passes too, and floats at its edges become int8.

Converters keep what a recurrent layer remembers, and what it returns, as floats that a step quantises
where it reads them and dequantises where it has computed them. Quantising commutes with the loop: it moves
out of the body in front of it, and dequantising behind it. A state that is only quantised and dequantised
becomes int8 by the rule of `quantise_islands`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tinyml.graph import DType, Graph, LoopAttrs, NoAttrs, Op, OpKind
from tinyml.passes import edit


def rewrite_loops(graph: Graph, rewrite: Callable[[Graph], Graph]) -> Graph:
    """Move QUANTIZE and DEQUANTIZE out of every loop, and rewrite its body.

    Args:
        graph: as read.
        rewrite: the passes, for a graph whose edges stay.
    """
    for op in graph.ops:
        if isinstance(op.attrs, LoopAttrs):
            graph = _rewrite_loop(graph, op, op.attrs, rewrite)
    return graph


def _rewrite_loop(graph: Graph, op: Op, attrs: LoopAttrs, rewrite: Callable[[Graph], Graph]) -> Graph:
    body = attrs.body
    before: list[Op] = []
    after: list[Op] = []
    inputs, output = list(op.inputs), op.outputs[0]
    writer = body.producer(body.outputs[0])
    if writer is not None and body.ops[writer].kind is OpKind.DEQUANTIZE:
        (inner,) = body.ops[writer].inputs
        if body.producer(inner) is not None:
            body = body.replace(outputs=(inner,))
            source = body.tensors[inner]
            tensor = dataclasses.replace(graph.tensors[output], dtype=source.dtype, quant=source.quant)
            graph, made = edit.add_tensor(graph, tensor)
            after.append(Op(OpKind.DEQUANTIZE, (made,), (output,), NoAttrs(), op.name))
            output = made

    def quantised(graph: Graph, position: int, like: int) -> Graph:
        """Quantise an operand of the loop as a tensor of the body is."""
        source, target = graph.tensors[inputs[position]], body.tensors[like]
        tensor = dataclasses.replace(source, dtype=target.dtype, quant=target.quant)
        graph, made = edit.add_tensor(graph, tensor)
        before.append(Op(OpKind.QUANTIZE, (inputs[position],), (made,), NoAttrs(), op.name))
        inputs[position] = made
        return graph

    for position, index in enumerate(body.inputs):
        readers = [body.ops[i] for i in body.consumers(index)]
        targets = [reader.outputs[0] for reader in readers]
        if (
            body.tensors[index].dtype is DType.FLOAT32
            and readers
            and all(reader.kind is OpKind.QUANTIZE for reader in readers)
            and len({(body.tensors[t].dtype, body.tensors[t].quant) for t in targets}) == 1
            and index not in body.results
        ):
            graph = quantised(graph, position, targets[0])
            tensors = list(body.tensors)
            tensors[index] = dataclasses.replace(tensors[targets[0]], name=tensors[index].name)
            ops = tuple(  # the same bytes
                dataclasses.replace(o, kind=OpKind.RESHAPE) if any(o is reader for reader in readers) else o
                for o in body.ops
            )
            body = body.replace(tensors=tuple(tensors), ops=ops)
    body = rewrite(body)
    for position, state in enumerate(body.states, attrs.initial):
        first = inputs[position]
        if first >= 0 and graph.tensors[first].dtype is not body.tensors[state.tensor].dtype:
            graph = quantised(graph, position, state.tensor)
    loop = Op(op.kind, tuple(inputs), (output,), dataclasses.replace(attrs, body=body), op.name)
    index = next(i for i, other in enumerate(graph.ops) if other is op)
    return edit.replace_op(graph, index, (*before, loop, *after))
