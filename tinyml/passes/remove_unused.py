"""Drop what no output depends on."""

from __future__ import annotations

from tinyml.graph import Graph, Op, State
from tinyml.passes import edit


def remove_unused(graph: Graph) -> Graph:
    """Drop operators and tensors that no model output needs, and number the tensors from 0.

    Model inputs stay, read or not: they are part of the model's interface.
    """
    needed = set(graph.results)
    ops: list[Op] = []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(t for t in op.inputs if t >= 0)
            ops.append(op)
    used = sorted(needed | set(graph.sources) | {t for op in ops for t in op.outputs})
    if len(ops) == len(graph.ops) and len(used) == len(graph.tensors):
        return graph
    new = {old: i for i, old in enumerate(used)} | {-1: -1}
    source = edit.source_index(graph)
    return graph.replace(
        tensors=tuple(graph.tensors[t] for t in used),
        ops=tuple(
            Op(o.kind, tuple(new[t] for t in o.inputs), tuple(new[t] for t in o.outputs), o.attrs, o.name)
            for o in reversed(ops)
        ),
        inputs=tuple(new[t] for t in graph.inputs),
        outputs=tuple(new[t] for t in graph.outputs),
        states=tuple(
            State(new[s.tensor], None if s.next is None else new[s.next], s.initial) for s in graph.states
        ),
        source_index=tuple(source[t] for t in used),
    )
