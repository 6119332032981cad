"""Remove operators that change nothing."""

from __future__ import annotations

from tinyml.graph import Graph, Op, OpKind, PadAttrs, SliceAttrs
from tinyml.passes import edit


def remove_noops(graph: Graph) -> Graph:
    """Remove RESHAPE, QUANTIZE, PAD and the like that change nothing; join RESHAPEs."""
    return edit.repeat(graph, _remove_one)


def _remove_one(graph: Graph) -> Graph | None:
    for i, op in enumerate(graph.ops):
        changed = edit.bypass(graph, i) if _is_noop(op) else None
        if changed is None and op.kind is OpKind.RESHAPE:
            changed = _join_reshapes(graph, i)
        if changed is not None:
            return changed
    return None


def _is_noop(op: Op) -> bool:
    """Return whether equal shapes and quantisation (which `bypass` checks) make the operator idle."""
    if op.kind is OpKind.PAD:
        assert isinstance(op.attrs, PadAttrs)
        return not any(before or after for before, after in op.attrs.paddings)
    if op.kind is OpKind.SLICE:
        assert isinstance(op.attrs, SliceAttrs)
        return not any(op.attrs.begin) and all(step == 1 for step in op.attrs.steps)
    if op.kind is OpKind.CONCATENATION:
        return len(op.inputs) == 1
    return op.kind in (OpKind.RESHAPE, OpKind.QUANTIZE, OpKind.TILE)


def _join_reshapes(graph: Graph, index: int) -> Graph | None:
    """Let the second of two RESHAPEs read the first one's input."""
    op = graph.ops[index]
    producer = graph.producer(op.inputs[0])
    if producer is None or graph.ops[producer].kind is not OpKind.RESHAPE:
        return None
    joined = Op(OpKind.RESHAPE, graph.ops[producer].inputs, op.outputs, op.attrs, op.name)
    return edit.replace_op(graph, index, (joined,))
