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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyml.errors import UsageError
from tinyml.graph import Graph
from tinyml.planner import estimate
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
    NOT_READ,
    Columns,
    RowOp,
    StreamStage,
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

_Costs = npt.NDArray[np.int64]
"""Costs as rows: bytes at the peak, multiply-accumulates, instructions, code."""


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
        most_macs: the most multiply-accumulates that may be computed a second time; None for any number.
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
        most_macs: int | None = None,
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
        self.most_macs = most_macs
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
                if run and (not single or any(estimate.takes_several_rows(op) for op in run)):
                    found += self._tails(end, run, single)
            if after >= 0:
                found = [c for c in found if c.stage.pushed or c.first > after]
            ending.append(_cheapest(found))
        return ending

    def _alone(self, end: int) -> Candidate:
        """One operator that runs as a whole."""
        node = self.nodes[end - 1]
        distances = {s: d for s, d in zip(node.reads, node.distances, strict=True) if s != node.writes}
        live = self.live_bytes(end - 1, end, distances, node.scratch_bytes, node.reverse_gap)
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
        """Yield the tails of a run as stages, from its last operator back, in every number of strips."""
        inner = {op.output for op in run[:-1]}
        outer = dict.fromkeys(t for op in run for t in op.inputs if t not in inner)
        # What comes from outside is fed here, to learn how many rows of it a ring would have.
        feeds = [feed_op(self.graph, t, whole_width(self.graph.tensors[t])) for t in outer]
        rows = stream_stage([*feeds, *run])
        guests = {t: self.graph.ops[op].outputs[0] for op, t in in_place_rows(rows).items()}
        width = run[-1].columns.width
        most = 1 if run[-1].sums else min(self.most_strips, max(width // NARROWEST_STRIP, 1))
        for strips in range(1, most + 1):
            if divides(width, strips):
                tail = _Tail(self, end, run, rows, guests, strips, single)
                while tail.grow():
                    yield from tail.candidates()

    def row(
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
        if narrow is None or (narrow.columns == columns and narrow.needs == needs):
            return narrow
        return dataclasses.replace(narrow, columns=columns, needs=needs)

    def least_scratch(self, call: RowOp) -> int:
        """Return the scratch that a call can do with."""
        kernel = self.selections[call.op].kernel
        if call.lowered is None or kernel is None or kernel.less_scratch is None:
            return call.scratch_bytes
        return kernel.less_scratch(call.lowered).scratch_bytes

    def stage_of(
        self,
        ops: tuple[int, ...],
        strips: int,
        single: bool,
        columns: StripColumns | None,
        outer: Mapping[int, bool],
    ) -> Stage | None:
        """Return the stage of a run of operators, None where they may not be one.

        Args:
            ops: the operators.
            strips: their number.
            single: Stage.single_rows.
            columns: of the strips.
            outer: tensors read from outside → whether columns beyond the image are read.
        """
        # What is read beyond the image is read from a ring that holds zero points there.
        fed = [t for t, beyond in outer.items() if columns and beyond and columns.outside(self.graph, t)]
        pushed = self.pushed_tensor in outer
        if pushed:
            assert self.pushed_tensor is not None
            if ops[0] != self.nodes[0].ops[0]:
                return None
            fed = [self.pushed_tensor, *(t for t in fed if t != self.pushed_tensor)]
        if len(ops) == 1 and not fed:
            return None
        return Stage(ops, strips=strips, fed=tuple(fed), pushed=pushed, single_rows=single)

    def distances(
        self, storages: Iterable[int], last: int, distance_of: Callable[[int], int] | None
    ) -> dict[int, int]:
        """Return, per storage that a stage reads, how far its output must start below it (Node.distances).

        Args:
            storages: what it reads from outside.
            last: its last operator.
            distance_of: the distance from a tensor; None where the last of several strips or bands still
                reads what the first one read.
        """
        writes = self.nodes[self.position[last]].writes
        output = self.flow.storages[writes]
        place = output.place(self.graph.ops[last].outputs[0])
        found: dict[int, int] = {}
        for s in storages:
            if s in (self.pushed, writes):
                continue
            source = self.flow.storages[s]
            apart = output.size_bytes
            if distance_of is not None:
                apart = max(distance_of(t) + place - source.place(t) for t in source.tensors)
            found[s] = min(align(apart, TENSOR_ALIGNMENT), output.size_bytes)
        return found

    def live_bytes(
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
        costs: list[_Costs] = [np.zeros((1, 4), np.int64)]  # of the ways to every cut
        for candidates in self.ending[1:]:
            joined = [_joined(costs[last.first], last.cost) for last in candidates]
            found = np.concatenate(joined) if joined else np.empty((0, 4), np.int64)
            starts = np.cumsum([0, *(len(rows) for rows in joined)])
            within = np.flatnonzero(found[:, 1] <= (found[:, 1] if most_macs is None else most_macs))
            kept = within[_pareto(found[within])]
            costs.append(found[kept])
            cuts.append([])
            for way, cost in zip(kept.tolist(), found[kept].tolist(), strict=True):
                stage = int(np.searchsorted(starts, way, "right")) - 1
                last = candidates[stage]
                cuts[-1].append(Cut(Cost(*cost), last, cuts[last.first][way - int(starts[stage])]))
        return cuts[-1]

    def patched(self, patches: int, count: int) -> list[Stage]:
        """Return MCUNetV2's schedule: the first operators in patches, the others one by one.

        Args:
            patches: per side of the image.
            count: operators of the order in the patched stage.

        Raises:
            UsageError: they cannot be computed in so many patches.
        """
        graph = self.graph
        ops = [node.ops[0] for node in self.nodes[:count]]
        columns = strip_columns(self.graph, ops, patches) if ops else None
        written = {graph.ops[op].outputs[0] for op in ops[:-1]}
        outer = {t: True for op in ops for t in graph.activations(graph.ops[op]) if t not in written}
        stage = self.stage_of(tuple(ops), patches, True, columns, outer) if columns is not None else None
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
            in_place = in_place_rows(stream_stage(calls, stage.bands))
            stage = dataclasses.replace(stage, in_place=tuple(in_place.items()))
            calls = stage_calls(self.graph, self.selections, stage)
            assert calls is not None
            rows = stream_stage(calls, stage.bands)
            operators = [by_ops[op,] for op in stage.ops]
            written = {node.writes for node in operators}
            reads = dict.fromkeys(s for node in operators for s in node.reads if s not in written)
            once = stage.strips == stage.bands == 1
            distances = self.distances(reads, stage.ops[-1], rows.distance if once else None)
            nodes.append(
                Node(
                    ops=stage.ops,
                    reads=tuple(distances),
                    distances=tuple(distances.values()),
                    writes=operators[-1].writes,
                    scratch_bytes=align(rows.scratch_bytes, TENSOR_ALIGNMENT),
                    rings=rows.rings,
                    state_bytes=state_bytes(calls[-1], len(calls), pushed=stage.pushed),
                    stage=stage,
                )
            )
            extra += recomputed_macs(self.graph, self.selections, stage, calls)
        return _rebuilt(self.flow, nodes, self.pushed), extra


class _Tail:
    """The last operators of a run as a stage in so many strips, growing from the last operator back.

    Args:
        search: what it belongs to.
        end: position behind the run.
        run: the operators on whole rows.
        rows: the run as one stage, with everything that it reads fed.
        guests: tensor → the output whose rows lie in its ring.
        strips: their number.
        single: Stage.single_rows.
    """

    def __init__(
        self,
        search: StageSearch,
        end: int,
        run: Sequence[RowOp],
        rows: StreamStage,
        guests: Mapping[int, int],
        strips: int,
        single: bool,
    ) -> None:
        self.search = search
        self.end = end
        self.run = run
        self.rows = rows
        self.guests = guests
        self.hosts = {guest: host for host, guest in guests.items()}
        self.strips = strips
        self.single = single
        self.columns = strip_columns(search.graph, [op.op for op in run], strips) if strips > 1 else None
        self.starts = self.columns.starts if self.columns is not None else (0,)
        self.ops: tuple[int, ...] = ()
        self.outer: dict[int, bool] = {}  # tensors read from outside → whether beyond the image
        self.storages: dict[int, None] = {}  # that hold them
        self.apart: dict[int, int] = {}  # tensor → distance that its readers want
        self.row_bytes: dict[int, int] = {}  # of every tensor written
        self.rings: dict[int, int] = {}  # inner tensor → bytes
        self.displaced: dict[int, RowOp] = {}  # host → a guest whose call computes several rows
        self.extra_macs = 0
        self.instructions = 0.0
        self.scratches: list[tuple[int, int, float]] = []  # per operator: usual, least, what that costs

    def grow(self) -> bool:
        """Take the operator before; return False where it cannot join."""
        at = len(self.run) - len(self.ops) - 1
        call = self._call(at) if at >= 0 else None
        if call is None:
            return False
        op, search = self.run[at], self.search
        output = op.output
        last = not self.ops
        self.ops = (op.op, *self.ops)
        if not last:
            self.rings[output] = self.rows.ring_rows[output] * call.access.row_bytes
            self.rings.pop(self.guests.get(output, -1), None)
        host = self.hosts.get(output)
        if host is not None and call.access.granule > 1:
            self.displaced[host] = call
        self.row_bytes[output] = call.access.row_bytes
        self.outer.pop(output, None)
        beyond = not call.reads_inside
        self.outer = {t: beyond or self.outer.get(t, False) for t in op.inputs} | {
            t: past or (beyond and t in op.inputs) for t, past in self.outer.items()
        }
        node = search.nodes[self.end - len(self.ops)]
        self.storages.pop(node.writes, None)
        self.storages |= dict.fromkeys(node.reads)
        index = len(self.rows.ops) - len(self.ops)
        for tensor in op.inputs:
            distance = self.rows.reads.get((index, tensor), NOT_READ)
            self.apart[tensor] = max(self.apart.get(tensor, NOT_READ), distance)
        again = max(call.macs_of(self.starts) - op.macs, 0)
        self.extra_macs += again
        if search.most_macs is not None and self.extra_macs > search.most_macs:
            return False
        self.instructions += estimate.instructions(estimate.streamed_work(op, call, self.strips, again))
        slower = estimate.instructions(estimate.less_scratch_work(call, self.strips))
        self.scratches.append((call.scratch_bytes, search.least_scratch(call), slower))
        return True

    def _call(self, at: int) -> RowOp | None:
        """Return an operator of the run as the stage calls it."""
        op, search, columns = self.run[at], self.search, self.columns
        if columns is None:
            return op
        back = at - len(self.run)
        if -back > len(columns.computed):
            return None
        stage = Stage((op.op, *self.ops), strips=self.strips)
        one_row = self.single or single_in_strips(search.graph, stage, 0)
        call = search.row(op, single=one_row, strip=(columns.computed[back], columns.needs[back]))
        last = not self.ops
        if call is None or (last and not ends_inside(call, op.columns.width, self.strips)):
            return None
        return call

    def candidates(self) -> Iterator[Candidate]:
        """Yield it as a stage, with the usual scratch and with the least."""
        search, last = self.search, self.run[-1]
        stage = search.stage_of(self.ops, self.strips, self.single, self.columns, self.outer)
        if stage is None:
            return
        rings = self.rings | {t: self._fed_bytes(t) for t in stage.fed}
        for tensor in stage.fed:
            rings.pop(self.guests.get(tensor, -1), None)
        inside = state_bytes(last, len(stage.fed) + len(stage.ops), pushed=stage.pushed)
        inside += sum(align(size, TENSOR_ALIGNMENT) for size in rings.values())
        first = self.end - len(stage.ops)
        distance_of = self._distance if self.strips == 1 else None
        distances = search.distances(self.storages, stage.ops[-1], distance_of)
        most = max(scratch for scratch, _, _ in self.scratches)
        least = max(scratch for _, scratch, _ in self.scratches)
        for scratch in {most, least}:
            total = inside + align(scratch, TENSOR_ALIGNMENT) + self._displaced_bytes(rings, scratch)
            slower = sum(cost for usual, _, cost in self.scratches if usual > scratch)
            live = search.live_bytes(first, self.end, distances, total, None)
            instructions = round(self.instructions + slower)
            yield Candidate(
                dataclasses.replace(stage, small_scratch=True) if scratch < most else stage,
                first,
                Cost(live, self.extra_macs, instructions, estimate.CODE * len(stage.ops)),
            )

    def _distance(self, tensor: int) -> int:
        return self.apart.get(tensor, NOT_READ)

    def _fed_bytes(self, tensor: int) -> int:
        graph = self.search.graph
        held = self.columns.of[tensor] if self.columns is not None else whole_width(graph.tensors[tensor])
        return self.rows.ring_rows[tensor] * feed_op(graph, tensor, held).access.row_bytes

    def _displaced_bytes(self, rings: Mapping[int, int], scratch: int) -> int:
        """Bytes of rings for rows not in place: those computed in tiles are only one on one (may_lie_on)."""
        return sum(
            align(guest.access.granule * guest.access.row_bytes, TENSOR_ALIGNMENT)
            for host, guest in self.displaced.items()
            if host in rings
            and guest.scratch_bytes > scratch
            and guest.access.row_bytes != self.row_bytes.get(host)
        )


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


def _by_first(candidate: Candidate) -> tuple[int, ...]:
    cost = candidate.cost
    return candidate.first, cost.peak_bytes, cost.extra_macs, cost.extra_instructions, cost.extra_code


def _joined(before: _Costs, last: Cost) -> _Costs:
    """Return what ways to a cut cost with another stage behind them."""
    return np.stack(
        [
            np.maximum(before[:, 0], last.peak_bytes),
            before[:, 1] + last.extra_macs,
            before[:, 2] + last.extra_instructions,
            before[:, 3] + last.extra_code,
        ],
        axis=1,
    )


def _cheapest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Leave out the stages that another one of the same operators beats in everything."""
    kept: list[Candidate] = []
    better: list[tuple[int, int, int]] = []  # of those kept that have the same operators, by peak
    for candidate in sorted(candidates, key=_by_first):
        if kept and kept[-1].first != candidate.first:
            better.clear()
        cost = candidate.cost
        macs, instructions, code = cost.extra_macs, cost.extra_instructions, cost.extra_code
        if not any(m <= macs and i <= instructions and c <= code for m, i, c in better):
            kept.append(candidate)
            better.append((macs, instructions, code))
    return kept


def _pareto(costs: _Costs) -> npt.NDArray[np.intp]:
    """Return the indices of rows that no other row beats in everything, by their first number."""
    order = np.lexsort(costs.T[::-1])
    macs, instructions, code = (np.ascontiguousarray(column) for column in costs[order, 1:].T)
    kept: list[int] = []
    while len(order):  # none that follows is smaller in the first number
        kept.append(int(order[0]))
        better = (macs < macs[0]) | (instructions < instructions[0]) | (code < code[0])
        order, macs, instructions, code = (x[better] for x in (order, macs, instructions, code))
    if len(kept) > MOST_LABELS:
        spread = np.unique(np.linspace(0, len(kept) - 1, MOST_LABELS).round().astype(int))
        kept = [kept[i] for i in spread]
    return np.array(kept, np.intp)


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
