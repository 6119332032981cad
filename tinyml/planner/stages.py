"""Stages: which runs of operators are streamed, and in how many strips.

A dynamic program over the cuts of an operator order. A stage is one operator, or a contiguous run whose
inner tensors nobody else reads and which are kept as rings (stream.py), as wide as the image or in strips.
The bytes live during a stage do not depend on how the rest is cut; the peak is a maximum, recomputed
multiply-accumulates, instructions and code are sums. So a cut keeps the Pareto set of these four: what is
not in it cannot be part of a best plan.

Source: msf-CNN (Huang and Baccelli, 2025) searches fused blocks as paths through the same cuts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyml.errors import UsageError
from tinyml.graph import Graph, OpKind
from tinyml.planner.lifetimes import (
    TENSOR_ALIGNMENT,
    Flow,
    Node,
    Storage,
    align,
    shared_bytes,
    sharing_distance,
)
from tinyml.planner.plan import Cost, Stage
from tinyml.planner.stream import (
    Columns,
    RowOp,
    StripColumns,
    divides,
    ends_inside,
    events,
    feed_op,
    in_place_rows,
    row_op,
    single_in_strips,
    stage_calls,
    state_bytes,
    stream_stage,
    strip_columns,
    strip_starts,
    summing_op,
    whole_width,
)

if TYPE_CHECKING:
    from tinyml.select import Selection

MOST_STRIPS = 8
"""Strips a stage may have."""

NARROWEST_STRIP = 3
"""Output columns of a strip, at least: narrower ones mostly recompute their seams."""

MOST_LABELS = 120
"""Points of a cut's Pareto set that are kept; where there are more, every so many by peak."""

# Instructions that streaming adds, roughly, on a Cortex-M4: per call the row pointers and asking for rows;
# per multiply-accumulate what it takes again, what a depthwise kernel that shares its prepared rows between
# two output rows loses by computing one, and what less scratch costs.
_CALL = 15
_MAC = {OpKind.DEPTHWISE_CONV_2D: 3.0}
_OTHER_MAC = 1.0
_SINGLE_ROW_MAC = 2.3
_LAYER_MAC = {OpKind.DEPTHWISE_CONV_2D: 2.4}
_MOST_PER_MAC = 1.5
_TILED_MAC = 0.3  # a 3x3 depthwise convolution in tiles of a row
_SMALL_BLOCK_MAC = 0.25  # a convolution of two pixels at a time

_CODE = 260
"""Bytes of code that a streamed operator adds, roughly: its own function."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible stage: how it runs, the cut it starts from, and what it costs (peak: while it runs)."""

    stage: Stage
    first: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to run all operators before a cut: its last stage, and the way to that."""

    cost: Cost
    last: Candidate | None = None
    before: Cut | None = None

    def stages(self) -> list[Stage]:
        """The stages in order."""
        found: list[Stage] = []
        cut: Cut | None = self
        while cut is not None and cut.last is not None:
            found.append(cut.last.stage)
            cut = cut.before
        return found[::-1]


class StageSearch:
    """All stages that an operator order allows, and the ways to combine them.

    Args:
        graph: the network.
        selections: one per operator.
        flow: one node per operator.
        order: of its nodes.
        pushed: a model input whose rows the application pushes; the first stage reads all of it.
        most_strips: 1 allows no strips.
    """

    def __init__(
        self,
        graph: Graph,
        selections: Sequence[Selection],
        flow: Flow,
        order: Sequence[int],
        *,
        pushed: int | None = None,
        most_strips: int = MOST_STRIPS,
    ) -> None:
        self.graph = graph
        self.selections = selections
        self.flow = flow
        self.order = order
        self.pushed = next((i for i, s in enumerate(flow.storages) if pushed in s.tensors), None)
        self.pushed_tensor = pushed
        position = {node: at for at, node in enumerate(order)}
        # Storage s exists during positions [born, dies]; outputs to the end.
        self.born = [min((position[p] for p in s.producers), default=-1) for s in flow.storages]
        self.dies = [
            len(order)
            if s.is_output
            else max((position[n] for n in (*s.producers, *s.consumers)), default=max(born, 0))
            for s, born in zip(flow.storages, self.born, strict=True)
        ]
        # Bytes live when a stage starts at a position, written before it.
        self.before = [
            sum(
                s.size_bytes
                for i, s in enumerate(flow.storages)
                if self.born[i] < first <= self.dies[i] and i != self.pushed
            )
            for first in range(len(order))
        ]
        self.nodes = [flow.nodes[n] for n in order]
        self.position = {node.ops[0]: at for at, node in enumerate(self.nodes)}
        self.operators = [selections[node.ops[0]] for node in self.nodes]
        self.most_strips = most_strips
        self._narrow: dict[tuple[int, bool, int, tuple[int, ...]], RowOp | None] = {}

    # -- the stages -----------------------------------------------------------------------------

    @functools.cached_property
    def ending(self) -> list[list[Candidate]]:
        """Per position of the order, the stages that end there."""
        rows = {
            single: [row_op(self.graph, s, single_rows=single) for s in self.operators]
            for single in (False, True)
        }
        # A pushed input is not there as a whole: the first stage holds all its readers.
        after = max((at for at, node in enumerate(self.nodes) if self.pushed in node.reads), default=-1)
        ending: list[list[Candidate]] = [[]]
        for end in range(1, len(self.order) + 1):
            found = [self._alone(end)]
            for single, choices in rows.items():
                run = self._run(end, choices)
                if run and (not single or any(_takes_several_rows(op) for op in run)):
                    found += self._tails(end, run, single)
            if after >= 0:
                found = [c for c in found if c.stage.pushed or c.first > after]
            ending.append(_cheapest(found))
        return ending

    def _alone(self, end: int) -> Candidate:
        """One operator that runs as a whole."""
        node = self.nodes[end - 1]
        distances = {s: d for s, d in zip(node.reads, node.distances, strict=True) if s != node.writes}
        live = self._live_bytes(end - 1, end, distances, node.scratch_bytes, node.reverse_gap)
        return Candidate(Stage(node.ops), end - 1, Cost(live))

    def _run(self, end: int, choices: Sequence[RowOp | None]) -> list[RowOp]:
        """Return the longest run of operators before a position that may be one stage."""
        run: list[RowOp] = []
        for at in range(end - 1, -1, -1):
            last = at == end - 1
            op = (summing_op(self.graph, self.operators[at]) if last else None) or choices[at]
            if op is None or not (last or self._joins(at, end)):
                break
            run.insert(0, op)
        return run

    def _joins(self, at: int, end: int) -> bool:
        """Whether the output of a position can be a ring of a stage that ends there or later."""
        written = self.nodes[at].writes
        storage = self.flow.storages[written]
        # Read by somebody, by nobody outside, and without a view of it.
        return bool(storage.consumers) and self.dies[written] < end and len(storage.tensors) == 1

    def _tails(self, end: int, run: list[RowOp], single: bool) -> Iterator[Candidate]:
        """Yield the tails of a run as stages, from its last operator back, adding up what each costs."""
        graph = self.graph
        inner = {op.output for op in run[:-1]}
        outer = dict.fromkeys(t for op in run for t in op.inputs if t not in inner)
        # What comes from outside is fed here, to learn how many rows of it a ring would have.
        feeds = [feed_op(graph, t, whole_width(graph.tensors[t])) for t in outer]
        rows = stream_stage([*feeds, *run])
        # tensor → the output that lies in its ring
        guests = {t: graph.ops[op].outputs[0] for op, t in in_place_rows(rows).items()}
        guests_of = {guest: host for host, guest in guests.items()}
        ops = [op.op for op in run]
        for strips in range(1, self.most_strips + 1):
            if strips > 1 and (run[-1].sums or run[-1].columns.width < strips * NARROWEST_STRIP):
                return
            if not divides(run[-1].columns.width, strips):
                continue
            columns = strip_columns(graph, ops, strips) if strips > 1 else None
            rings: dict[int, int] = {}
            extra = instructions = 0
            inside_only: set[int] = set()
            displaced: dict[int, tuple[int, int, int]] = {}  # host → scratch, row bytes, rows of its guest
            widths: dict[int, int] = {}  # bytes of a row
            scratches: list[tuple[int, int, float]] = []  # per operator: usual, least, what that costs
            for at in range(len(run) - 1, -1, -1):
                op = run[at]
                last = at == len(run) - 1
                strip = None
                if columns is not None:
                    if at < len(run) - len(columns.computed):
                        break
                    back = at - len(run)
                    strip = columns.computed[back], columns.needs[back]
                alone = Stage(tuple(ops[at:]), strips=strips)
                one_row = single or single_in_strips(graph, alone, 0)
                usual = self._row(op, single=one_row, strip=strip)
                if usual is None:
                    break
                if last and columns is not None and not ends_inside(usual, run[-1].columns.width, strips):
                    break
                if not last:
                    rings[op.output] = rows.ring_rows[op.output] * usual.access.row_bytes
                    rings.pop(guests.get(op.output, -1), None)
                starts = columns.starts if columns is not None else (0,)
                again = max(usual.macs_of(starts) - op.macs, 0)
                extra += again
                instructions += self._instructions(op, usual, strips, again)
                if usual.reads_inside:
                    inside_only.add(op.op)
                slower = _less_scratch_cost(usual, strips)
                scratches.append((usual.scratch_bytes, self._least_scratch(usual), slower))
                host = guests_of.get(op.output)
                if host is not None and usual.access.granule > 1:
                    displaced[host] = usual.scratch_bytes, usual.access.row_bytes, usual.access.granule
                widths[op.output] = usual.access.row_bytes
                base = self._stage(ops[at:], strips, single, columns, inside_only)
                if base is None:
                    continue
                inside = state_bytes(run[-1], len(base.fed) + len(base.ops), pushed=base.pushed)
                kept = dict(rings)
                for tensor in base.fed:
                    held = columns.of[tensor] if columns is not None else whole_width(graph.tensors[tensor])
                    kept[tensor] = rows.ring_rows[tensor] * feed_op(graph, tensor, held).access.row_bytes
                    kept.pop(guests.get(tensor, -1), None)
                inside += sum(align(size, TENSOR_ALIGNMENT) for size in kept.values())
                distances = self._distances(base, functools.partial(rows.distance, first=len(feeds) + at))
                first = end - len(base.ops)
                most = max(scratch for scratch, _, _ in scratches)
                least = max(scratch for _, scratch, _ in scratches)
                for scratch in {most, least}:
                    total = inside + align(scratch, TENSOR_ALIGNMENT)
                    # Rows computed in tiles lie in place only one on one (RowOp.may_lie_on).
                    total += sum(
                        align(rows_ * row_bytes, TENSOR_ALIGNMENT)
                        for host, (usual_, row_bytes, rows_) in displaced.items()
                        if host in kept and usual_ > scratch and row_bytes != widths.get(host)
                    )
                    slower = sum(cost for usual_, _, cost in scratches if usual_ > scratch)
                    live = self._live_bytes(first, end, distances, total, None)
                    yield Candidate(
                        dataclasses.replace(base, small_scratch=scratch < most),
                        first,
                        Cost(live, extra, round(instructions + slower), _CODE * len(base.ops)),
                    )

    def _row(
        self, op: RowOp, *, single: bool, strip: tuple[Columns, tuple[Columns, ...]] | None
    ) -> RowOp | None:
        """Return an operator of a run as a stage in strips calls it; lowered once per width."""
        if strip is None:
            return op
        columns, needs = strip
        key = op.op, single, columns.width, tuple(need.width for need in needs)
        if key not in self._narrow:
            selection = self.selections[op.op]
            self._narrow[key] = row_op(self.graph, selection, single_rows=single, strip=strip)
        narrow = self._narrow[key]
        return dataclasses.replace(narrow, columns=columns, needs=needs) if narrow is not None else None

    def _least_scratch(self, call: RowOp) -> int:
        """Return the scratch that a call can do with."""
        kernel = self.selections[call.op].kernel
        if call.lowered is None or kernel is None or kernel.less_scratch is None:
            return call.scratch_bytes
        return kernel.less_scratch(call.lowered).scratch_bytes

    def _instructions(self, op: RowOp, call: RowOp, strips: int, again: int) -> int:
        """Estimate what streaming an operator adds: `op` is its call on whole rows, `call` on a strip's."""
        kind = self.graph.ops[op.op].kind
        calls = strips * -(-call.access.rows // call.access.granule)
        more = calls * _CALL + again * _MAC.get(kind, _OTHER_MAC)
        if _takes_several_rows(op) and call.access.granule == 1:
            more += strips * call.macs * _SINGLE_ROW_MAC
        return round(more)

    def _stage(
        self,
        ops: Sequence[int],
        strips: int,
        single: bool,
        columns: StripColumns | None,
        inside_only: Set[int] = frozenset(),
    ) -> Stage | None:
        """Return the stage of a run of operators, None where they may not be one."""
        graph = self.graph
        written = {graph.ops[op].outputs[0] for op in ops[:-1]}
        outer = dict.fromkeys(t for op in ops for t in graph.activations(graph.ops[op]) if t not in written)
        # What is read beyond the image is read from a ring that holds zero points there.
        beyond = {t for op in ops if op not in inside_only for t in graph.activations(graph.ops[op])}
        fed = [t for t in outer if columns is not None and t in beyond and columns.outside(graph, t)]
        pushed = self.pushed_tensor in outer
        if pushed:
            assert self.pushed_tensor is not None
            if ops[0] != self.nodes[0].ops[0]:
                return None
            fed = [self.pushed_tensor, *(t for t in fed if t != self.pushed_tensor)]
        if len(ops) == 1 and not fed:
            return None
        return Stage(tuple(ops), strips=strips, fed=tuple(fed), pushed=pushed, single_rows=single)

    def _distances(self, stage: Stage, distance_of: Callable[[int], int]) -> dict[int, int]:
        """Return, per storage that a stage reads, how far its output must start below it (Node.distances)."""
        end = self.position[stage.ops[-1]] + 1
        operators = self.nodes[end - len(stage.ops) : end]
        written = {node.writes for node in operators}
        output = self.flow.storages[operators[-1].writes]
        size, place = output.size_bytes, output.place(self.graph.ops[stage.ops[-1]].outputs[0])
        distances: dict[int, int] = {}
        for node in operators:
            for storage in node.reads:
                if storage not in written and storage not in distances and storage != self.pushed:
                    source = self.flow.storages[storage]
                    # The last of several strips or bands still reads what the first one read.
                    whole = stage.strips == stage.bands == 1
                    apart = size
                    if whole:
                        apart = max(distance_of(t) + place - source.place(t) for t in source.tensors)
                    distances[storage] = min(align(apart, TENSOR_ALIGNMENT), size)
        return distances

    def _live_bytes(
        self, first: int, end: int, distances: Mapping[int, int], inside: int, reverse_gap: int | None
    ) -> int:
        """Return the bytes live while the stage of positions [first, end) runs, best overlap taken."""
        storages = self.flow.storages
        written = self.nodes[end - 1].writes  # counted among those before where others have written to it
        output = storages[written].size_bytes if self.born[written] >= first else 0
        dying = [
            (sharing_distance(distance, reverse_gap, storages[s].size_bytes, output), storages[s].size_bytes)
            for s, distance in distances.items()
            if self.dies[s] < end
        ]
        return self.before[first] + output + inside - shared_bytes(output, dying)

    # -- their combinations ---------------------------------------------------------------------

    def front(self, most_macs: int | None = None) -> list[Cut]:
        """Return the ways to run the network of which none is better in everything, smallest peak first.

        Args:
            most_macs: the most multiply-accumulates that may be computed a second time.
        """
        cuts: list[list[Cut]] = [[Cut(Cost())]]
        for candidates in self.ending[1:]:
            ways = [(before, last) for last in candidates for before in cuts[last.first]]
            costs = np.array([_joined(before.cost, last.cost) for before, last in ways], np.int64)
            if most_macs is not None and len(ways):
                costs[costs[:, 1] > most_macs, 0] = np.iinfo(np.int64).max
            kept = [i for i in _pareto(costs) if costs[i, 0] < np.iinfo(np.int64).max]
            cuts.append([Cut(Cost(*map(int, costs[i])), ways[i][1], ways[i][0]) for i in kept])
        return cuts[-1]

    def patched(self, patches: int, count: int) -> list[Stage]:
        """Return MCUNetV2's schedule: the first operators in patches, the others one by one.

        Args:
            patches: per side of the image.
            count: operators of the order in the patched stage.

        Raises:
            UsageError: they cannot be computed in so many patches.
        """
        ops = [node.ops[0] for node in self.nodes[:count]]
        columns = strip_columns(self.graph, ops, patches) if ops else None
        stage = self._stage(ops, patches, True, columns) if columns is not None else None
        stage = dataclasses.replace(stage, bands=patches) if stage is not None else None
        inside = all(self._joins(at, count) for at in range(count - 1))
        if stage is None or not inside or stage_calls(self.graph, self.selections, stage) is None:
            last = self.graph.ops[ops[-1]] if ops else None
            raise UsageError(
                f"{self.graph.name}: the first {count} operators cannot run in {patches}x{patches} patches",
                where=f"operator {ops[-1]}, {last.kind}" if last is not None else "the schedule",
                expected="expected a run of image operators whose inner tensors nobody else reads",
                hint="see `tinyml inspect` for the operators",
            )
        return [stage, *(Stage(node.ops) for node in self.nodes[count:])]

    def flow_of(self, stages: Sequence[Stage]) -> tuple[Flow, int]:
        """Return the flow whose nodes are these stages, in order, and what they compute a second time."""
        nodes = []
        extra = 0
        by_ops = {node.ops: node for node in self.nodes}
        for stage in stages:
            if not stage.streamed:
                nodes.append(by_ops[stage.ops])
                continue
            calls = stage_calls(self.graph, self.selections, stage)
            assert calls is not None
            in_place = in_place_rows(stream_stage(calls, stage.bands), stage.bands)
            stage = dataclasses.replace(stage, in_place=tuple(in_place.items()))
            calls = stage_calls(self.graph, self.selections, stage)
            assert calls is not None
            rows = stream_stage(calls, stage.bands)
            distances = self._distances(stage, rows.distance)
            nodes.append(
                Node(
                    ops=stage.ops,
                    reads=tuple(distances),
                    distances=tuple(distances.values()),
                    writes=by_ops[stage.ops[-1:]].writes,
                    scratch_bytes=align(rows.scratch_bytes, TENSOR_ALIGNMENT),
                    rings=rows.rings,
                    state_bytes=state_bytes(calls[-1], len(calls), pushed=stage.pushed),
                    stage=stage,
                )
            )
            extra += recomputed_macs(self.graph, self.selections, stage, calls)
        return _rebuilt(self.flow, nodes, self.pushed), extra


def layer_instructions(graph: Graph, selections: Sequence[Selection]) -> float:
    """Estimate the instructions of running the operators one by one."""
    return sum(
        _LAYER_MAC.get(graph.ops[s.op].kind, _OTHER_MAC) * s.lowered.macs for s in selections if s.lowered
    )


def streaming_instructions(cost: Cost) -> float:
    """Estimate the instructions that a choice of stages adds, but for what is computed a second time."""
    return cost.extra_instructions - _MOST_PER_MAC * cost.extra_macs


def recomputed_macs(
    graph: Graph, selections: Sequence[Selection], stage: Stage, calls: Sequence[RowOp]
) -> int:
    """Return the multiply-accumulates that a streamed stage executes beyond those of its operators.

    Rows that no later operator reads are not computed, so it may also be fewer; that counts as none.
    """
    rows = dict.fromkeys(range(len(calls)), 0)
    for event in events(calls, stage.bands):
        rows[event.index] += event.end - event.row
    starts = strip_starts(whole_width(graph.tensors[calls[-1].output]).width, stage.strips)
    executed = sum(
        call.macs_of(starts) * rows[i] // call.access.rows for i, call in enumerate(calls) if call.macs
    )
    streamed = {call.op for call in calls if call.macs}
    return max(executed - sum(s.lowered.macs for op in streamed if (s := selections[op]).lowered), 0)


def _less_scratch_cost(call: RowOp, strips: int) -> float:
    """Estimate the instructions that a kernel takes more with less scratch."""
    rate = _TILED_MAC if _takes_several_rows(call) else _SMALL_BLOCK_MAC
    return strips * call.macs * rate


def _takes_several_rows(op: RowOp) -> bool:
    """Whether the kernel can compute several rows per call."""
    return op.lowered is not None and op.lowered.loop is not None and op.lowered.loop.step > 1


def _joined(before: Cost, last: Cost) -> tuple[int, int, int, int]:
    return (
        max(before.peak_bytes, last.peak_bytes),
        before.extra_macs + last.extra_macs,
        before.extra_instructions + last.extra_instructions,
        before.extra_code + last.extra_code,
    )


def _cheapest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Leave out the stages that another one of the same operators beats in everything."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: (candidate.first, *_numbers(candidate.cost))):
        numbers = _numbers(candidate.cost)
        beaten = any(
            other.first == candidate.first
            and all(a <= b for a, b in zip(_numbers(other.cost), numbers, strict=True))
            for other in kept
        )
        if not beaten:
            kept.append(candidate)
    return kept


def _numbers(cost: Cost) -> tuple[int, int, int, int]:
    return cost.peak_bytes, cost.extra_macs, cost.extra_instructions, cost.extra_code


def _pareto(costs: npt.NDArray[np.int64]) -> list[int]:
    """Return the indices of rows [n, 4] that no other row beats in everything, by their first number."""
    order = np.lexsort(costs.T[::-1]) if len(costs) else np.empty(0, np.int64)
    kept: list[int] = []
    while len(order):
        best = int(order[0])
        kept.append(best)
        order = order[np.any(costs[order] < costs[best], axis=1)]
    if len(kept) > MOST_LABELS:
        spread = np.unique(np.linspace(0, len(kept) - 1, MOST_LABELS).round().astype(int))
        kept = [kept[i] for i in spread]
    return kept


def _rebuilt(flow: Flow, nodes: Sequence[Node], pushed: int | None) -> Flow:
    """Return a flow of these nodes, without the storages that have become rings."""
    lasting = {i for i, s in enumerate(flow.storages) if not s.producers or s.is_output} - {pushed}
    kept = sorted({s for node in nodes for s in (*node.reads, node.writes)} | lasting)
    index = {s: i for i, s in enumerate(kept)}
    renamed = tuple(
        dataclasses.replace(node, reads=tuple(index[s] for s in node.reads), writes=index[node.writes])
        for node in nodes
    )
    storages = tuple(
        Storage(
            tensors=flow.storages[s].tensors,
            places=flow.storages[s].places,
            size_bytes=flow.storages[s].size_bytes,
            producers=tuple(n for n, node in enumerate(renamed) if node.writes == index[s]),
            consumers=tuple(n for n, node in enumerate(renamed) if index[s] in node.reads),
            is_output=flow.storages[s].is_output,
        )
        for s in kept
    )
    return Flow(renamed, storages)
