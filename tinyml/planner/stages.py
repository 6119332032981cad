"""Stages: which runs of operators are streamed, so that the fullest moment holds the fewest bytes.

A dynamic program over the cuts of an operator order. A stage is one operator, or a contiguous run whose
inner tensors nobody else reads and which are kept as rings (stream.py). The bytes live during a stage do
not depend on how the rest is cut, and the peak is a maximum, so the best cut of a prefix is part of a
best cut of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinyml.graph import Graph
from tinyml.planner.lifetimes import (
    TENSOR_ALIGNMENT,
    Flow,
    Node,
    Storage,
    align,
    shared_bytes,
    sharing_distance,
)
from tinyml.planner.stream import RowOp, StreamStage, row_op, stream_stage

if TYPE_CHECKING:
    from tinyml.select import Selection


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A possible stage: its node, the nodes of the flow it replaces, and the bytes live while it runs."""

    node: Node
    first: int
    end: int
    live_bytes: int

    @property
    def streamed(self) -> int:
        """Operators that run row by row."""
        return len(self.node.ops) if len(self.node.ops) > 1 else 0


def streamed_flow(
    graph: Graph, selections: Sequence[Selection], flow: Flow, order: Sequence[int], max_bytes: int
) -> Flow:
    """Return the flow with runs of operators streamed: as few as keep the peak within `max_bytes`.

    Args:
        graph: the network.
        selections: one per operator.
        flow: one node per operator.
        order: of its nodes.
        max_bytes: bytes the arena may have; where no choice of stages reaches that, the smallest peak
            is taken.

    Returns:
        A flow whose nodes are the stages in order.
    """
    candidates = _candidates(graph, selections, flow, order)
    smallest = _smallest_peak(candidates, len(order))
    chosen = _fewest_streamed(candidates, len(order), max(smallest, max_bytes))
    return _rebuilt(flow, [candidate.node for candidate in chosen])


def _candidates(
    graph: Graph, selections: Sequence[Selection], flow: Flow, order: Sequence[int]
) -> list[list[_Candidate]]:
    """Return, per position of the order, the stages that end there."""
    position = {node: at for at, node in enumerate(order)}
    # Storage s exists during positions [born, dies]; outputs to the end.
    born = [position[s.producer] if s.producer >= 0 else -1 for s in flow.storages]
    dies = [
        len(order) if s.is_output else max((position[c] for c in s.consumers), default=max(born[i], 0))
        for i, s in enumerate(flow.storages)
    ]
    operators = [selections[flow.nodes[n].ops[0]] for n in order]
    rows = {single: [row_op(graph, s, single_rows=single) for s in operators] for single in (False, True)}
    written = [flow.storages[flow.nodes[n].writes] for n in order]
    # Bytes live when a stage starts at a position, written before it.
    before = [
        sum(s.size_bytes for i, s in enumerate(flow.storages) if born[i] < first <= dies[i])
        for first in range(len(order))
    ]

    def joins(at: int, end: int) -> bool:
        """Whether the output of a position can be a ring of a stage that ends there or later."""
        storage = written[at]
        # Read by somebody, by nobody outside, and without a view of it.
        return (
            bool(storage.consumers) and dies[flow.nodes[order[at]].writes] < end and len(storage.tensors) == 1
        )

    def candidate(node: Node, first: int, end: int) -> _Candidate:
        output = flow.storages[node.writes].size_bytes
        dying = [
            (
                sharing_distance(distance, node.reverse_gap, flow.storages[s].size_bytes, output),
                flow.storages[s].size_bytes,
            )
            for s, distance in zip(node.reads, node.distances, strict=True)
            if dies[s] < end
        ]
        inside = sum(align(size, TENSOR_ALIGNMENT) for _, size in node.rings) + node.scratch_bytes
        return _Candidate(node, first, end, before[first] + output + inside - shared_bytes(output, dying))

    ending: list[list[_Candidate]] = [[] for _ in range(len(order) + 1)]
    for end in range(1, len(order) + 1):
        for single, choices in rows.items():
            run: list[RowOp] = []  # the longest that may be one stage; its tails are the shorter ones
            for at in range(end - 1, -1, -1):
                row = choices[at]
                if row is None or (at < end - 1 and not joins(at, end)):
                    break
                run.insert(0, row)
            if len(run) < 2 or (single and not any(_takes_several_rows(op) for op in run)):
                continue
            whole = stream_stage(run)
            for skipped in range(len(run) - 1):
                first = end - len(run) + skipped
                node = _stage_node(flow, order[first:end], whole.tail(skipped), single)
                ending[end].append(candidate(node, first, end))
        ending[end].append(candidate(flow.nodes[order[end - 1]], end - 1, end))
    return ending


def _takes_several_rows(op: RowOp) -> bool:
    """Whether the kernel can compute several rows per call."""
    return op.lowered.loop is not None and op.lowered.loop.step > 1


def _stage_node(flow: Flow, nodes: Sequence[int], stage: StreamStage, single_rows: bool) -> Node:
    """Return the node of a run of operators."""
    written = [flow.nodes[n].writes for n in nodes]
    size = flow.storages[written[-1]].size_bytes
    distances: dict[int, int] = {}
    for n in nodes:
        for storage in flow.nodes[n].reads:
            if storage not in written and storage not in distances:
                distance = max(stage.distance(t) for t in flow.storages[storage].tensors)
                distances[storage] = min(align(distance, TENSOR_ALIGNMENT), size)
    return Node(
        ops=tuple(op.op for op in stage.ops),
        reads=tuple(distances),
        distances=tuple(distances.values()),
        writes=written[-1],
        scratch_bytes=align(stage.scratch_bytes, TENSOR_ALIGNMENT),
        rings=stage.rings,
        single_rows=single_rows,
    )


def _smallest_peak(candidates: Sequence[Sequence[_Candidate]], nodes: int) -> int:
    best = [0] + [0] * nodes
    for end in range(1, nodes + 1):
        best[end] = min(max(best[c.first], c.live_bytes) for c in candidates[end])
    return best[nodes]


def _fewest_streamed(candidates: Sequence[Sequence[_Candidate]], nodes: int, limit: int) -> list[_Candidate]:
    """Return the best stages within the limit.

    Best is: the fewest operators computed by single rows whose kernels could take several, which costs
    instructions; then the fewest streamed; then the smallest peak.
    """
    worst = (nodes + 1, 0, 0)
    cost = [(0, 0, 0)] + [worst] * nodes
    choice: list[_Candidate | None] = [None] * (nodes + 1)
    for end in range(1, nodes + 1):
        for candidate in candidates[end]:
            slow, streamed, peak = cost[candidate.first]
            slow += candidate.streamed if candidate.node.single_rows else 0
            reached = (slow, streamed + candidate.streamed, max(peak, candidate.live_bytes))
            if candidate.live_bytes <= limit and reached < cost[end]:
                cost[end], choice[end] = reached, candidate
    chosen: list[_Candidate] = []
    end = nodes
    while end > 0:
        last = choice[end]
        assert last is not None  # the smallest peak is within the limit
        chosen.append(last)
        end = last.first
    return chosen[::-1]


def _rebuilt(flow: Flow, nodes: Sequence[Node]) -> Flow:
    """Return a flow of these nodes, without the storages that have become rings."""
    kept = sorted({s for node in nodes for s in (*node.reads, node.writes)} | _lasting(flow))
    index = {s: i for i, s in enumerate(kept)}
    renamed = tuple(
        Node(
            ops=node.ops,
            reads=tuple(index[s] for s in node.reads),
            distances=node.distances,
            writes=index[node.writes],
            scratch_bytes=node.scratch_bytes,
            reverse_gap=node.reverse_gap,
            rings=node.rings,
            single_rows=node.single_rows,
        )
        for node in nodes
    )
    writers = {node.writes: n for n, node in enumerate(renamed)}
    storages = tuple(
        Storage(
            tensors=flow.storages[s].tensors,
            size_bytes=flow.storages[s].size_bytes,
            producer=writers.get(index[s], -1),
            consumers=tuple(n for n, node in enumerate(renamed) if index[s] in node.reads),
            is_output=flow.storages[s].is_output,
        )
        for s in kept
    )
    return Flow(renamed, storages)


def _lasting(flow: Flow) -> set[int]:
    """Model inputs and outputs, which exist whoever reads them."""
    return {i for i, s in enumerate(flow.storages) if s.producer < 0 or s.is_output}
