"""Get rid of TRANSPOSE, which costs a copy: most come from converting NCHW models."""

from __future__ import annotations

import dataclasses

from tinyml.graph import Graph, NoAttrs, Op, OpKind, ReduceAttrs, Tensor, TransposeAttrs
from tinyml.passes import edit


def cancel_transposes(graph: Graph) -> Graph:
    """Apply, until nothing changes: drop identities, merge pairs, sink below MEAN, turn into views."""
    return edit.repeat(graph, _cancel_one)


def _cancel_one(graph: Graph) -> Graph | None:
    for i, op in enumerate(graph.ops):
        changed: Graph | None = None
        if op.kind is OpKind.TRANSPOSE:
            changed = _merge_with_producer(graph, i) or _to_view(graph, i)
        elif op.kind is OpKind.MEAN:
            changed = _sink_below_mean(graph, i)
        if changed is not None:
            return changed
    return None


def _perm(op: Op) -> tuple[int, ...]:
    assert isinstance(op.attrs, TransposeAttrs)
    return op.attrs.perm


def _feeding_transpose(graph: Graph, tensor: int) -> Op | None:
    producer = graph.producer(tensor)
    if producer is None or graph.ops[producer].kind is not OpKind.TRANSPOSE:
        return None
    return graph.ops[producer]


def _merge_with_producer(graph: Graph, index: int) -> Graph | None:
    """Two TRANSPOSEs in a row are one, from the first one's input; inverse pairs become identities."""
    op = graph.ops[index]
    first = _feeding_transpose(graph, op.inputs[0])
    if first is None:
        return None
    perm = tuple(_perm(first)[p] for p in _perm(op))
    merged = Op(OpKind.TRANSPOSE, first.inputs, op.outputs, TransposeAttrs(perm), op.name)
    return edit.replace_op(graph, index, (merged,))


def _to_view(graph: Graph, index: int) -> Graph | None:
    """A TRANSPOSE that moves only dimensions of size 1 leaves every byte in place: it is a RESHAPE."""
    op = graph.ops[index]
    shape = graph.tensors[op.inputs[0]].shape
    moved = [p for p in _perm(op) if shape[p] != 1]
    if moved != sorted(moved):
        return None
    return edit.bypass(graph, index) or edit.replace_op(
        graph, index, (Op(OpKind.RESHAPE, op.inputs, op.outputs, NoAttrs(), op.name),)
    )


def _sink_below_mean(graph: Graph, index: int) -> Graph | None:
    """MEAN(TRANSPOSE(x)) = TRANSPOSE(MEAN(x)) with other axes: it averages the same elements.

    The sum is an integer, so the order of the elements does not matter, and what is left to
    transpose is smaller.
    """
    op = graph.ops[index]
    attrs = op.attrs
    assert isinstance(attrs, ReduceAttrs)
    first = _feeding_transpose(graph, op.inputs[0])
    if first is None:
        return None
    x, transposed = graph.tensors[first.inputs[0]], graph.tensors[op.inputs[0]]
    if x.quant != transposed.quant:  # MEAN rescales from its own input's quantisation
        return None
    perm = _perm(first)
    axes = tuple(sorted(perm[a] for a in attrs.axes))
    rank = len(perm)
    kept = list(range(rank)) if attrs.keep_dims else [d for d in range(rank) if d not in axes]
    order = perm if attrs.keep_dims else tuple(p for d, p in enumerate(perm) if d not in attrs.axes)
    output = graph.tensors[op.outputs[0]]
    inner: Tensor = dataclasses.replace(
        output, name=f"{output.name}/mean", shape=tuple(1 if d in axes else x.shape[d] for d in kept)
    )
    graph, mean = edit.add_tensor(graph, inner)
    return edit.replace_op(
        graph,
        index,
        (
            Op(OpKind.MEAN, first.inputs, (mean,), ReduceAttrs(axes, attrs.keep_dims), op.name),
            Op(
                OpKind.TRANSPOSE,
                (mean,),
                op.outputs,
                TransposeAttrs(tuple(kept.index(d) for d in order)),
                op.name,
            ),
        ),
    )
