"""The planner: operator order and memory placement."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tinyml.errors import UsageError
from tinyml.graph import Graph, LoopAttrs
from tinyml.planner import estimate
from tinyml.planner.check import PlanError, check
from tinyml.planner.lifetimes import Flow, Lifetimes, Node, timeline
from tinyml.planner.order import search_order
from tinyml.planner.outside import find_fills
from tinyml.planner.place import find_offsets
from tinyml.planner.plan import Buffer, BufferKind, Cost, Fill, Plan, Stage
from tinyml.planner.recompute import plan_gates
from tinyml.planner.stages import MOST_STRIPS, Cut, StageSearch

if TYPE_CHECKING:
    from tinyml.select import Selection

__all__ = [
    "Buffer",
    "BufferKind",
    "Cost",
    "Fill",
    "Objective",
    "Plan",
    "PlanError",
    "Stage",
    "check",
    "place_stages",
    "plan",
    "plan_gates",
    "timeline",
]

_PLACEMENTS = 12
"""Choices of stages that are placed, at most, to find one without gaps."""


Objective = Literal["latency", "sram", "flash"]
"""What to choose among the plans that fit: the fewest instructions, bytes of arena, or bytes of code."""


def plan(
    graph: Graph,
    selections: Sequence[Selection],
    *,
    order: Literal["search", "file"] = "search",
    stream_above: int | None = None,
    objective: Objective = "latency",
    max_slowdown: float | None = None,
    max_extra_macs: int | None = 0,
    pushed: int | None = None,
    front: bool = False,
    patch: tuple[int, int] | None = None,
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
            operators are streamed row by row (stages.py) to bring the arena down to it, or as far as
            it goes. None never streams; 0 gives the smallest arena.
        objective: what to choose among the choices of stages that fit `stream_above`.
        max_slowdown: with the objective "sram" the most instructions per multiply-accumulate that the arena
            may cost, as an estimated share; None for any number.
        max_extra_macs: the most multiply-accumulates that may be computed a second time, in strips; None
            for any number.
        pushed: a model input that never is in the arena as a whole: the application pushes its rows.
        front: find all choices of stages, for Plan.front, even where nothing needs to be streamed.
        patch: (patches per side, operators): no choice, but those operators in patches and the others
            one by one, as MCUNetV2 does.

    Returns:
        A plan that has passed `check`.

    Raises:
        PlanError: the selections do not fit the graph, or the plan is wrong (a bug).
        UsageError: the pushed input cannot be read row by row, or the operators not run in patches.
    """
    selections, bodies = _plan_bodies(graph, selections)
    flow = Flow.of(graph, selections)
    if patch is not None:
        search = StageSearch(graph, selections, flow, range(len(flow.nodes)), pushed=pushed)
        best = place_stages(graph, selections, search, search.patched(*patch))
        best = dataclasses.replace(best, bodies=bodies)
        check(graph, selections, best)
        return best
    orders = [tuple(range(len(flow.nodes)))]
    if order == "search":
        orders = list(dict.fromkeys((*orders, search_order(flow))))
    layered = [_plan_order(graph, selections, flow, nodes) for nodes in orders]
    best = min(layered, key=lambda p: p.arena_bytes)
    wanted = stream_above is not None and (best.arena_bytes > stream_above or objective == "sram")
    if wanted or front or pushed is not None:
        strips = 1 if max_extra_macs == 0 and not front else MOST_STRIPS
        most = None if front else max_extra_macs
        searches = [
            StageSearch(graph, selections, flow, nodes, pushed=pushed, most_strips=strips, most_macs=most)
            for nodes in orders
        ]
        cuts = [[(cut, search) for cut in search.front(max_extra_macs)] for search in searches]
        ways = [way for ways in cuts for way in ways]
        readers = () if pushed is None else graph.consumers(pushed)
        # A view, which runs no kernel, is the whole image under another name.
        if pushed is not None and not (ways and readers and all(selections[i].kernel for i in readers)):
            raise UsageError(
                f"{graph.name}: input {graph.tensors[pushed].name!r} cannot arrive row by row",
                where="its first reader" if readers else "no operator reads it",
                expected="expected operators that compute image rows from image rows",
                hint="leave out --stream-input",
            )
        if wanted or pushed is not None:
            allowed = ways
            if max_slowdown is not None:
                costs = [cut.cost for cut, _ in ways]
                fast = estimate.within(costs, graph, selections, max_slowdown)
                allowed = [way for way, kept in zip(ways, fast, strict=True) if kept]
                allowed = allowed or [min(ways, key=lambda way: _preference("latency", way[0].cost))]
            best = _choose(graph, selections, allowed, stream_above, objective)
        if front:
            fronts = [search.front() for search in searches]
            points = min(fronts, key=lambda found: found[0].cost.peak_bytes)
            best = dataclasses.replace(best, front=tuple(cut.cost for cut in points))
    best = dataclasses.replace(best, bodies=bodies)
    check(graph, selections, best)
    return best


def _plan_bodies(
    graph: Graph, selections: Sequence[Selection]
) -> tuple[list[Selection], tuple[tuple[int, Plan], ...]]:
    """Plan the bodies of loops, one operator per stage: a loop's scratch is the arena of its body."""
    planned: list[Selection] = []
    bodies: list[tuple[int, Plan]] = []
    for selection in selections:
        attrs = graph.ops[selection.op].attrs
        if isinstance(attrs, LoopAttrs):
            assert selection.lowered is not None
            body = plan(attrs.body, selection.body)
            bodies.append((selection.op, body))
            lowered = dataclasses.replace(selection.lowered, scratch_bytes=body.arena_bytes)
            selection = dataclasses.replace(selection, lowered=lowered)
        planned.append(selection)
    return planned, tuple(bodies)


def _choose(
    graph: Graph,
    selections: Sequence[Selection],
    ways: Sequence[tuple[Cut, StageSearch]],
    limit: int | None,
    objective: Objective,
) -> Plan:
    """Return the best plan within the limit, else the smallest.

    A cut's cost counts the bytes live at the fullest moment. Where their placement leaves gaps, the next
    best one may be the better.
    """
    allowed = list(ways)
    if objective != "sram":
        fitting = [way for way in allowed if limit is None or way[0].cost.peak_bytes <= limit]
        fitting.sort(key=lambda way: _preference(objective, way[0].cost))
        for cut, search in fitting[:_PLACEMENTS]:
            found = place_stages(graph, selections, search, cut.stages())
            if limit is None or found.arena_bytes <= limit:
                return found
    allowed.sort(key=lambda way: _preference("sram", way[0].cost))
    best: Plan | None = None
    for cut, search in allowed[:_PLACEMENTS]:
        if best is not None and best.arena_bytes <= cut.cost.peak_bytes:
            break
        found = place_stages(graph, selections, search, cut.stages())
        if best is None or found.arena_bytes < best.arena_bytes:
            best = found
    assert best is not None
    return best


def place_stages(
    graph: Graph, selections: Sequence[Selection], search: StageSearch, stages: Sequence[Stage]
) -> Plan:
    """Plan the memory of a choice of stages; `check` has not seen it yet."""
    flow, extra_macs = search.flow_of(stages)
    plan = _plan_order(graph, selections, flow, range(len(flow.nodes)))
    return dataclasses.replace(plan, extra_macs=extra_macs)


def _preference(objective: Objective, cost: Cost) -> tuple[int, ...]:
    orders = {
        "latency": (cost.extra_instructions, cost.peak_bytes, cost.extra_code),
        "sram": (cost.peak_bytes, cost.extra_instructions, cost.extra_code),
        "flash": (cost.extra_code, cost.extra_instructions, cost.peak_bytes),
    }
    return orders[objective]


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
            places=block.places,
        )
        for block, offset in zip(lifetimes.blocks, offsets, strict=True)
    )
    plan = Plan(
        model=graph.name,
        stages=tuple(
            flow.nodes[node].stage
            or Stage(flow.nodes[node].ops, bottom_up=_bottom_up(lifetimes, offsets, flow.nodes[node]))
            for node in order
        ),
        buffers=buffers,
        arena_bytes=max((buffer.offset + buffer.size_bytes for buffer in buffers), default=0),
        lower_bound_bytes=lifetimes.lower_bound_bytes,
        peak_stage=lifetimes.stage_bytes.index(lifetimes.lower_bound_bytes),
        macs=sum(selection.lowered.macs for selection in selections if selection.lowered is not None),
    )
    return dataclasses.replace(plan, fills=find_fills(graph, selections, plan))


def _bottom_up(lifetimes: Lifetimes, offsets: Sequence[int], node: Node) -> bool:
    """Whether the output meets its dying input where only the reverse row order is safe."""
    source, output = node.reads[0] if node.reads else -1, node.writes
    if (source, output) not in lifetimes.reverse_gaps:
        return False
    forward = min(lifetimes.distances[output, source], lifetimes.blocks[output].size_bytes)
    apart = offsets[source] + lifetimes.blocks[source].size_bytes <= offsets[output]
    return not apart and offsets[output] + forward > offsets[source]
