"""Compute operators whose inputs are all constants."""

from __future__ import annotations

import dataclasses

from tinyml import reference
from tinyml.graph import Graph, OpKind
from tinyml.passes import edit

_MAX_BYTES = 1 << 20  # a larger result would cost more flash than the operator costs time


def fold_constants(graph: Graph) -> Graph:
    """Replace operators on constants by their result; model outputs stay computed."""
    return edit.repeat(graph, _fold_one)


def _fold_one(graph: Graph) -> Graph | None:
    for i, op in enumerate(graph.ops):
        output = graph.tensors[op.outputs[0]]
        if (
            op.outputs[0] in graph.results
            or output.size_bytes > _MAX_BYTES
            or op.kind is OpKind.WHILE  # its steps may be many, and its inputs constants
        ):
            continue
        if all(t < 0 or graph.tensors[t].data is not None for t in op.inputs):
            folded = dataclasses.replace(output, data=reference.run_op(graph, op, {}))
            tensors = list(graph.tensors)
            tensors[op.outputs[0]] = folded
            return edit.replace_op(graph.replace(tensors=tuple(tensors)), i, ())
    return None
