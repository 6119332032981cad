"""The few edits that passes are made of. Each returns a new graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tinyml.graph import Graph, Op, State, Tensor


def repeat(graph: Graph, step: Callable[[Graph], Graph | None]) -> Graph:
    """Apply a rewrite that returns None when it finds nothing to do, until then."""
    while (changed := step(graph)) is not None:
        graph = changed
    return graph


def add_tensor(graph: Graph, tensor: Tensor) -> tuple[Graph, int]:
    """Append a tensor that the model file does not have; returns the graph and its index."""
    return (
        graph.replace(tensors=(*graph.tensors, tensor), source_index=(*source_index(graph), -1)),
        len(graph.tensors),
    )


def replace_op(graph: Graph, index: int, ops: Sequence[Op]) -> Graph:
    """Put any number of operators in the place of one."""
    return graph.replace(ops=(*graph.ops[:index], *ops, *graph.ops[index + 1 :]))


def merge(graph: Graph, keep: int, drop: int) -> Graph:
    """Let tensor `keep` stand for `drop` everywhere; both must hold the same bytes.

    Where `keep` was made by a pass it takes over the source index, so that it can still be
    compared with the reference interpreter.
    """

    def swap(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(keep if i == drop else i for i in indices)

    source = list(source_index(graph))
    tensors = list(graph.tensors)
    if source[keep] < 0:
        source[keep] = source[drop]
        tensors[keep] = dataclasses.replace(tensors[keep], channels=tensors[drop].channels)
    return graph.replace(
        tensors=tuple(tensors),
        ops=tuple(Op(o.kind, swap(o.inputs), swap(o.outputs), o.attrs, o.name) for o in graph.ops),
        inputs=swap(graph.inputs),
        outputs=swap(graph.outputs),
        states=tuple(
            State(swap((s.tensor,))[0], s.next if s.next is None else swap((s.next,))[0], s.initial)
            for s in graph.states
        ),
        source_index=tuple(source),
    )


def bypass(graph: Graph, index: int) -> Graph | None:
    """Remove an operator whose output equals its input, or return None where it has to stay.

    A model output keeps its own tensor (and name), which the input's producer then writes.
    """
    op = graph.ops[index]
    source, target = op.inputs[0], op.outputs[0]
    x, y = graph.tensors[source], graph.tensors[target]
    if x.shape != y.shape or x.dtype is not y.dtype or x.quant != y.quant:
        return None
    without = replace_op(graph, index, ())
    if target not in graph.results:
        return merge(without, keep=source, drop=target)
    if source in graph.sources or source in graph.results or x.data is not None:
        return None
    return merge(without, keep=target, drop=source)


def source_index(graph: Graph) -> tuple[int, ...]:
    """Return the graph's source index, −1 throughout where it has none."""
    return graph.source_index or (-1,) * len(graph.tensors)
