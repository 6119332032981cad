"""Gated maps: keep them, or compute them twice.

A squeeze-and-excite gate is made from the mean of a map and then multiplies all of it, so the map has to wait
for its gate. Computed once it is in memory as a whole. Computed twice, once for the mean and once for
the product, it is never there at all: both times its rows are used as they come (stream.py). What that
costs is the work of the operators between the block's input and the map.

Source: rematerialisation (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016), here for one
inference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tinyml.graph import Graph, Op, OpKind
from tinyml.planner.plan import Plan
from tinyml.planner.stream import row_op

if TYPE_CHECKING:
    from tinyml.select import Selection

_REDUCTIONS = frozenset({OpKind.MEAN, OpKind.AVERAGE_POOL_2D})


def plan_gates(
    graph: Graph,
    selections: Sequence[Selection],
    kept: Plan,
    replan: Callable[..., Plan],
    *,
    enough_bytes: int,
    max_extra_macs: int | None,
) -> tuple[Graph, Sequence[Selection], Plan]:
    """Compute gated maps twice, the largest first, as long as that makes the arena smaller.

    Args:
        graph: the network.
        selections: one per operator.
        kept: its plan with every map kept.
        replan: planner.plan with its options, but for the network and max_extra_macs.
        enough_bytes: an arena that is small enough.
        max_extra_macs: the most multiply-accumulates that may be computed a second time, None for any number.

    Returns:
        The network that is best, its selections and its plan.
    """
    best = (graph, selections, kept)
    extra = 0
    while best[2].arena_bytes > enough_bytes:
        maps = gated_maps(graph)
        largest = max((graph.tensors[t].size_bytes for t in maps), default=0)
        repeated = False
        for tensor in (t for t in maps if graph.tensors[t].size_bytes == largest):
            twice = compute_twice(graph, selections, tensor)
            if twice is not None:
                graph, selections, more = twice
                extra += more
                repeated = True
        left = None if max_extra_macs is None else max_extra_macs - extra
        if not repeated or (left is not None and left < 0):
            break
        plan = _counted(replan(graph, selections, max_extra_macs=left), extra)
        if plan.arena_bytes >= best[2].arena_bytes:
            break
        best = (graph, selections, plan)
    return best


def _counted(plan: Plan, repeated: int) -> Plan:
    """Return a plan with the work of the operators that are there twice counted as computed again."""
    front = tuple(dataclasses.replace(cost, extra_macs=cost.extra_macs + repeated) for cost in plan.front)
    return dataclasses.replace(
        plan, macs=plan.macs - repeated, extra_macs=plan.extra_macs + repeated, front=front
    )


def gated_maps(graph: Graph) -> list[int]:
    """Return the tensors of which one reader makes a gate, by a mean, and another needs all of it."""
    found = []
    for op in graph.ops:
        (tensor,) = op.outputs
        readers = [graph.ops[c] for c in graph.consumers(tensor)]
        reduced = [reader for reader in readers if _reduces(graph, reader)]
        if reduced and len(reduced) < len(readers) and tensor not in graph.results:
            found.append(tensor)
    return found


def compute_twice(
    graph: Graph, selections: Sequence[Selection], tensor: int
) -> tuple[Graph, list[Selection], int] | None:
    """Return the network with a gated map computed once for its gate and once more for the product.

    Args:
        graph: the network.
        selections: one per operator.
        tensor: one of `gated_maps`.

    Returns:
        The network, its selections, and the multiply-accumulates that are added; None where nothing before
        the map can be computed row by row. The added operators have the constants of those they repeat.
    """
    chain: list[int] = []  # the operators to repeat, the last one first
    source = tensor
    while (producer := graph.producer(source)) is not None:
        inner = len(graph.consumers(source)) == 1 or source == tensor
        reads = graph.activations(graph.ops[producer])
        if not inner or len(reads) != 1 or row_op(graph, selections[producer]) is None:
            break
        chain.append(producer)
        source = reads[0]
    if not chain:
        return None
    again: dict[int, int] = {}  # tensor → its repetition
    tensors, source_index = list(graph.tensors), list(graph.source_index)
    repeated: list[tuple[Op, Selection]] = []
    for index in reversed(chain):
        op = graph.ops[index]
        again[op.outputs[0]] = len(tensors)
        description = tensors[op.outputs[0]]
        tensors.append(dataclasses.replace(description, name=f"{description.name} for its gate"))
        if source_index:
            source_index.append(source_index[op.outputs[0]])
        inputs = tuple(again.get(t, t) for t in op.inputs)
        op = dataclasses.replace(op, inputs=inputs, outputs=(len(tensors) - 1,))
        repeated.append((op, selections[index]))
    # First the map for its gate where it was, then the gate, then the map again where it is needed.
    ops: list[tuple[Op, Selection]] = []
    waiting = [(graph.ops[index], selections[index]) for index in reversed(chain)]
    for index, op in enumerate(graph.ops):
        if index == chain[-1]:
            ops += repeated
        if index in chain:
            continue
        if tensor in op.inputs and _reduces(graph, op):
            op = dataclasses.replace(op, inputs=tuple(again.get(t, t) for t in op.inputs))
        elif tensor in op.inputs:
            ops += waiting
            waiting = []
        ops.append((op, selections[index]))
    extra = sum(lowered.macs for index in chain if (lowered := selections[index].lowered))
    twice = graph.replace(
        tensors=tuple(tensors), ops=tuple(op for op, _ in ops), source_index=tuple(source_index)
    )
    renumbered = [dataclasses.replace(selection, op=i) for i, (_, selection) in enumerate(ops)]
    return twice, renumbered, extra


def _reduces(graph: Graph, op: Op) -> bool:
    """Whether an operator makes an image smaller in both directions, or is the first step to that."""
    if op.kind not in _REDUCTIONS:
        return False
    before, after = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    return len(before) == 4 and before[1] * before[2] > 1 and _pixels(after) in (1, before[1], before[2])


def _pixels(shape: Sequence[int]) -> int:
    """Image positions of an output whose last dimension is channels."""
    size = 1
    for dim in shape[:-1]:
        size *= dim
    return size
