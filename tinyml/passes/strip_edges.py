"""Give a float-edged model int8 inputs and outputs."""

from __future__ import annotations

from tinyml.errors import ModelError
from tinyml.graph import DType, Graph, OpKind
from tinyml.passes import edit


def strip_edges(graph: Graph) -> Graph:
    """Remove QUANTIZE behind the model's inputs and DEQUANTIZE before its outputs.

    Raises:
        ModelError: a float input is quantised in several ways or not read, so that no int8 tensor
            can stand for it.
    """
    for i, index in enumerate(graph.inputs):
        readers = [graph.ops[r].kind for r in graph.consumers(index)]
        converted = readers and all(kind is not OpKind.QUANTIZE for kind in readers)  # by CAST: stays float
        if graph.tensors[index].dtype is DType.FLOAT32 and not converted:
            graph = _strip_input(graph, i)
    for i, index in enumerate(graph.outputs):
        producer = graph.producer(index)
        if producer is not None and graph.ops[producer].kind is OpKind.DEQUANTIZE:
            inner = graph.ops[producer].inputs[0]
            graph = graph.replace(outputs=(*graph.outputs[:i], inner, *graph.outputs[i + 1 :]))
    return graph


def _strip_input(graph: Graph, position: int) -> Graph:
    index = graph.inputs[position]
    consumers = graph.consumers(index)
    if any(graph.ops[i].kind is not OpKind.QUANTIZE for i in consumers):
        raise ModelError(
            f"float input '{graph.tensors[index].name}' is quantised and read as it is",
            expected="expected only QUANTIZE to read it, so that an int8 input can take its place",
            hint="add --edges float",
        )
    targets = [graph.ops[i].outputs[0] for i in consumers]
    if not targets:
        raise ModelError(
            f"float input '{graph.tensors[index].name}' is read by no operator",
            expected="expected a QUANTIZE that gives its int8 form",
            hint="remove it from the model's inputs, or add --edges float",
        )
    if len({graph.tensors[t].quant for t in targets}) > 1:
        raise ModelError(
            f"input '{graph.tensors[index].name}' is quantised in {len(targets)} different ways",
            where=f"{len(targets)} QUANTIZE operators read it",
            expected="expected one, so that an int8 input can take its place",
            hint="add --edges float",
        )
    ops = tuple(op for i, op in enumerate(graph.ops) if i not in consumers)
    inputs = (*graph.inputs[:position], targets[0], *graph.inputs[position + 1 :])
    graph = graph.replace(ops=ops, inputs=inputs)
    for other in targets[1:]:
        graph = edit.merge(graph, keep=targets[0], drop=other)
    return graph
