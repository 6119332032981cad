"""The planner: operator order and memory placement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tinyml.graph import Graph
from tinyml.planner.check import PlanError, check
from tinyml.planner.lifetimes import Flow, Lifetimes, Node, timeline
from tinyml.planner.order import search_order
from tinyml.planner.place import find_offsets
from tinyml.planner.plan import Buffer, BufferKind, Plan, Stage, Storage
from tinyml.planner.stages import streamed_flow

if TYPE_CHECKING:
    from tinyml.select import Selection

__all__ = ["Buffer", "BufferKind", "Plan", "PlanError", "Stage", "check", "plan", "timeline"]


def plan(
    graph: Graph,
    selections: Sequence[Selection],
    *,
    order: Literal["search", "file"] = "search",
    stream_above: int | None = None,
) -> Plan:
    """Plan the memory of a network: one stage per operator that runs code, or streamed runs of them.

    Views (RESHAPE) belong to no stage; their output shares its input's buffer. Model inputs occupy
    the arena from the start and are overwritten once they are dead; model outputs stay to the end.
    Constants are not in the arena.

    Args:
        graph: the network.
        selections: one per operator, in order (select.select).
        order: "search" for the operator order of the smallest peak, "file" for the file's order.
        stream_above: where one operator per stage needs a larger arena than this, in bytes, runs of
            operators are streamed row by row (stages.py): as few as bring the arena down to it, or
            the smallest arena found. None never streams; 0 gives the smallest arena.

    Returns:
        A plan that has passed `check`.

    Raises:
        PlanError: the selections do not fit the graph, or the plan is wrong (a bug).
    """
    flow = Flow.of(graph, selections)
    file_order = tuple(range(len(flow.nodes)))
    best = _plan_order(graph, selections, flow, file_order)
    if order == "search":
        found = search_order(flow)
        if found != file_order:
            searched = _plan_order(graph, selections, flow, found)
            best = min(best, searched, key=lambda p: p.arena_bytes)
    if stream_above is not None:
        # The limit bounds the bytes that are live; where their placement leaves gaps, the smallest peak.
        for limit in dict.fromkeys((stream_above, 0)):
            for nodes in dict.fromkeys((file_order, found if order == "search" else file_order)):
                if best.arena_bytes <= stream_above:
                    break
                streamed = streamed_flow(graph, selections, flow, nodes, limit)
                stages = tuple(range(len(streamed.nodes)))
                candidate = _plan_order(graph, selections, streamed, stages)
                best = min(best, candidate, key=lambda p: p.arena_bytes)
    check(graph, selections, best)
    return best


def _plan_order(graph: Graph, selections: Sequence[Selection], flow: Flow, order: Sequence[int]) -> Plan:
    lifetimes = Lifetimes.of(graph, flow, order)
    offsets = find_offsets(lifetimes)
    buffers = tuple(
        Buffer(
            name=block.name,
            kind=block.kind,
            tensors=block.tensors,
            offset=offset,
            size_bytes=block.size_bytes,
            first=block.first,
            last=block.last,
        )
        for block, offset in zip(lifetimes.blocks, offsets, strict=True)
    )
    return Plan(
        model=graph.name,
        stages=tuple(
            Stage(
                ops=flow.nodes[node].ops,
                storage=tuple((tensor, Storage.RING) for tensor, _ in flow.nodes[node].rings),
                bottom_up=_bottom_up(lifetimes, offsets, flow.nodes[node]),
                single_rows=flow.nodes[node].single_rows,
            )
            for node in order
        ),
        buffers=buffers,
        arena_bytes=max((buffer.offset + buffer.size_bytes for buffer in buffers), default=0),
        lower_bound_bytes=lifetimes.lower_bound_bytes,
        peak_stage=lifetimes.stage_bytes.index(lifetimes.lower_bound_bytes),
        macs=sum(selection.lowered.macs for selection in selections if selection.lowered is not None),
    )


def _bottom_up(lifetimes: Lifetimes, offsets: Sequence[int], node: Node) -> bool:
    """Whether the output meets its dying input where only the reverse row order is safe."""
    source, output = node.reads[0] if node.reads else -1, node.writes
    if (source, output) not in lifetimes.reverse_gaps:
        return False
    forward = min(lifetimes.distances[output, source], lifetimes.blocks[output].size_bytes)
    apart = offsets[source] + lifetimes.blocks[source].size_bytes <= offsets[output]
    return not apart and offsets[output] + forward > offsets[source]
