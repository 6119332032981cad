"""The proof of a plan: no two live byte ranges meet, every byte needed is there.

Imports no solver and nothing the solver derived: lifetimes are counted again from the graph, and
every pair of buffers that shares bytes is walked step by step through its access map. Streamed stages are
executed call by call (stream.events, which is what generated code does) with every row tagged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyml.access import AccessMap, RowMap
from tinyml.graph import ConcatAttrs, Graph, LoopAttrs, Op, OpKind, SliceAttrs
from tinyml.kernels.registry import OpContext
from tinyml.planner.plan import Buffer, BufferKind, Plan
from tinyml.planner.stream import (
    FEED,
    RowOp,
    events,
    ring_host,
    ring_slots,
    stage_calls,
    state_bytes,
    strip_starts,
    whole_width,
    written_bytes,
)

if TYPE_CHECKING:
    from tinyml.select import Selection

_Bytes = npt.NDArray[np.int64]


class PlanError(AssertionError):
    """A plan, or what it was made from, breaks a rule: a bug of this package, not of the user's."""


def check(graph: Graph, selections: Sequence[Selection], plan: Plan) -> None:
    """Prove that executing the plan computes the network.

    Proved: every operator that runs code is in one stage, after its inputs; every tensor has one
    buffer, large enough, aligned, inside the arena and live from its producer to its last consumer;
    views lie where their inputs' bytes are, and no two operators write to one byte of a buffer; every stage
    has the scratch and the state its kernels want; the body of a loop has a plan of its own, proved in the
    same way, that fits the loop's scratch; every ring still holds the rows and columns that are read; strips
    and bands cover the output; two buffers that are live together share bytes only where an output overwrites
    rows of a dying input that no later step reads; a row of zero points lies on bytes that nobody has from
    the call it is filled before, and is filled before the first call that reads it; the arena is exactly what
    the buffers need, and not below the lower bound.

    Raises:
        PlanError: with the rule that is broken and the buffers, stages and bytes concerned.
    """
    stage_of = _check_stages(graph, selections, plan)
    buffer_of = _check_tensors(graph, selections, plan)
    scratch_of = _check_scratch(graph, selections, plan)
    _check_lifetimes(graph, plan, stage_of, buffer_of)
    _check_arena(plan)
    _check_bodies(graph, selections, plan, stage_of)
    _check_fills(graph, selections, plan, buffer_of)
    for stage in range(len(plan.stages)):
        _check_rings(graph, selections, plan, stage)
        _check_columns(graph, selections, plan, stage)
    for stage in range(max(len(plan.stages), 1)):
        live = [i for i, buffer in enumerate(plan.buffers) if buffer.first <= stage <= buffer.last]
        for position, a in enumerate(live):
            for b in live[position + 1 :]:
                if _meet(plan.buffers[a], plan.buffers[b]):
                    _check_overlap(graph, selections, plan, stage, a, b, buffer_of, scratch_of)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise PlanError(message)


def _check_stages(graph: Graph, selections: Sequence[Selection], plan: Plan) -> dict[int, int]:
    """Return the stage of every operator that runs code."""
    _require(
        [selection.op for selection in selections] == list(range(len(graph.ops))),
        f"{graph.name}: one selection per operator, in order, is needed",
    )
    stage_of: dict[int, int] = {}
    for index, stage in enumerate(plan.stages):
        _require(
            len(stage.ops) > 0 and (stage.streamed or stage.strips == stage.bands == 1),
            f"stage {index} has no operators, or strips without rings",
        )
        _require(
            not stage.pushed or (index == 0 and stage.bands == 1 and stage.fed[:1] != ()),
            f"stage {index} is pushed, but is not the first, or reads no input, or reads it again",
        )
        for op in stage.ops:
            _require(op not in stage_of, f"op {op} runs twice")
            stage_of[op] = index
    coded = {selection.op for selection in selections if selection.lowered is not None}
    _require(
        set(stage_of) == coded,
        f"operators without a stage: {sorted(coded - set(stage_of))}, "
        f"stages without code: {sorted(set(stage_of) - coded)}",
    )
    written = {t: -1 for t in graph.sources}  # tensor -> stage after which it exists
    pending = sorted(range(len(graph.ops)), key=lambda op: stage_of.get(op, -1))
    views = [op for op in pending if op not in stage_of]

    def expand_views() -> None:
        """Views exist as soon as their input does."""
        for op in views:  # in file order, so chains of views resolve in one pass
            sources = graph.activations(graph.ops[op])
            if all(t in written for t in sources):
                written.update(
                    {t: max((written[s] for s in sources), default=-1) for t in graph.ops[op].outputs}
                )

    for index, stage in enumerate(plan.stages):
        expand_views()
        for op in stage.ops:
            missing = [t for t in graph.activations(graph.ops[op]) if t not in written]
            _require(
                not missing,
                f"stage {index} (op {op} {graph.ops[op].kind}) reads tensors {missing} not written yet",
            )
            written.update(dict.fromkeys(graph.ops[op].outputs, index))
    expand_views()
    lost = [t for t in graph.results if graph.tensors[t].data is None and t not in written]
    _require(not lost, f"model outputs {lost} are never written")
    return stage_of


def _check_tensors(graph: Graph, selections: Sequence[Selection], plan: Plan) -> dict[int, int]:
    """Return the index of the buffer of every tensor in the arena: all of it, or else its ring."""
    buffer_of: dict[int, int] = {}
    rings: dict[tuple[int, int], int] = {}  # (tensor, stage) -> buffer
    pushed = {t for stage in plan.stages if stage.pushed for t in stage.fed[:1]}
    _require(pushed <= set(graph.inputs), f"tensors {sorted(pushed)} are pushed, but are no model inputs")
    for index, buffer in enumerate(plan.buffers):
        _require(
            buffer.offset >= 0 and buffer.size_bytes >= 0, f"buffer {buffer.name!r} has a negative range"
        )
        _require(buffer.offset % 4 == 0, f"buffer {buffer.name!r} at {buffer.offset} is not aligned to 4")
        _require(
            len(buffer.places) in (0, len(buffer.tensors))
            and all(p >= 0 and p % 4 == 0 for p in buffer.places),
            f"buffer {buffer.name!r} has its tensors at {buffer.places}, which are not aligned to 4",
        )
        _require(
            bool(buffer.tensors) == (buffer.kind in (BufferKind.TENSOR, BufferKind.RING)),
            f"buffer {buffer.name!r} of kind {buffer.kind} holds tensors {buffer.tensors}",
        )
        for tensor in buffer.tensors:
            if buffer.kind is BufferKind.RING:
                key = (tensor, buffer.first)
                _require(key not in rings, f"tensor {tensor} has two rings in stage {buffer.first}")
                rings[key] = index
            else:
                _require(tensor not in buffer_of, f"tensor {tensor} has two buffers")
                _require(tensor not in pushed, f"tensor {tensor} is pushed, but has a buffer of its own")
                buffer_of[tensor] = index
            needed = 1
            if buffer.kind is BufferKind.TENSOR:
                needed = buffer.offset_of(tensor) - buffer.offset + graph.tensors[tensor].size_bytes
            _require(
                buffer.size_bytes >= needed,
                f"buffer {buffer.name!r} of {buffer.size_bytes} B is too small "
                f"for tensor {tensor} of {needed} B",
            )
    for tensor, at in rings:
        fed = at < len(plan.stages) and tensor in plan.stages[at].fed and tensor not in pushed
        _require(
            fed == (tensor in buffer_of),
            f"tensor {tensor} has a ring in stage {at}, which is not fed from a buffer of it",
        )
    for (tensor, _), index in rings.items():
        buffer_of.setdefault(tensor, index)
    for index, stage in enumerate(plan.stages):
        held = {tensor: ring for (tensor, at), ring in rings.items() if at == index}
        for guest, tensor in stage.in_place:  # in execution order
            _require(tensor in held, f"op {guest} writes over tensor {tensor}, which has no ring")
            (output,) = graph.ops[guest].outputs
            held[output] = buffer_of[output] = held[tensor]
    used = {t for op in graph.ops for t in (*graph.activations(op), *op.outputs)}
    used |= {t for t in (*graph.sources, *graph.results) if graph.tensors[t].data is None}
    _require(
        used == set(buffer_of),
        f"tensors without a buffer: {sorted(used - set(buffer_of))}, "
        f"buffers of tensors not in the arena: {sorted(set(buffer_of) - used)}",
    )
    written = set(graph.inputs)  # tensors that are no views
    for selection, op in zip(selections, graph.ops, strict=True):
        sources = graph.activations(op)
        if selection.lowered is None:
            _require(
                len(sources) > 0
                and len(op.outputs) == 1
                and {buffer_of[t] for t in (*sources, *op.outputs)} == {buffer_of[sources[0]]},
                f"op {selection.op} {op.kind} is a view, but its tensors do not share one buffer",
            )
            offsets = [plan.buffers[buffer_of[t]].offset_of(t) for t in (*sources, *op.outputs)]
            _check_view(graph, op, [offset - offsets[-1] for offset in offsets[:-1]])
            continue
        written.update(op.outputs)
        access = selection.lowered.access
        _require(len(op.outputs) == 1, f"op {selection.op} {op.kind} has {len(op.outputs)} outputs")
        _require(
            access.output_bytes == graph.tensors[op.outputs[0]].size_bytes,
            f"op {selection.op} {op.kind}: the access map writes {access.output_bytes} B of an output of "
            f"{graph.tensors[op.outputs[0]].size_bytes} B",
        )
        _require(
            access.granule > 0 and len(access.inputs) == len(sources),
            f"op {selection.op} {op.kind}: the access map has {len(access.inputs)} inputs "
            f"for {len(sources)} tensors",
        )
        for row_map, tensor in zip(access.inputs, sources, strict=True):
            _require(
                row_map is None
                or (
                    row_map.mul >= 0 and row_map.rows * row_map.row_bytes == graph.tensors[tensor].size_bytes
                ),
                f"op {selection.op} {op.kind}: the access map does not describe its input tensor {tensor}",
            )
    for buffer in plan.buffers:
        roots = sorted(
            (buffer.offset_of(t), graph.tensors[t].size_bytes) for t in written & set(buffer.tensors)
        )
        _require(
            all(a + size <= b for (a, size), (b, _) in itertools.pairwise(roots)),
            f"buffer {buffer.name!r} holds tensors {buffer.tensors}, which are not views of one",
        )
    return buffer_of


def _check_view(graph: Graph, op: Op, places: Sequence[int]) -> None:
    """Prove that an operator which runs no code leaves every byte where it is to be.

    Args:
        graph: the network.
        op: the operator.
        places: bytes from the start of its output to that of each input.
    """
    output = graph.tensors[op.outputs[0]]
    sources = [graph.tensors[t] for t in op.inputs]
    attrs, size = op.attrs, output.dtype.size_bytes
    # The output's elements, each by the byte at which it lies according to the inputs' places.
    at = [
        place + np.arange(source.elements, dtype=np.int64) * size
        for place, source in zip(places, sources, strict=True)
    ]
    if isinstance(attrs, ConcatAttrs):
        lead = int(np.prod(output.shape[: attrs.axis], dtype=np.int64))
        elements = np.concatenate([part.reshape(lead, -1) for part in at], axis=1)
    elif isinstance(attrs, SliceAttrs):
        elements = at[0].reshape(sources[0].shape)
        for axis, (begin, step, to) in enumerate(zip(attrs.begin, attrs.steps, attrs.axes, strict=True)):
            count = 1 if to < 0 else output.shape[to]
            elements = elements.take(begin + step * np.arange(count), axis)
    else:
        _require(op.kind is OpKind.RESHAPE, f"{op.kind} '{op.name}' cannot be a view")
        elements = at[0]
    _require(
        np.array_equal(elements.reshape(-1), np.arange(output.elements, dtype=np.int64) * size)
        and all(source.dtype is output.dtype for source in sources),
        f"{op.kind} '{op.name}' is a view, but its bytes are not where its inputs' are: {list(places)}",
    )


def _calls(graph: Graph, selections: Sequence[Selection], plan: Plan, stage: int) -> list[RowOp]:
    """Return the operators of a stage as it calls them: whole, or row by row where it is streamed."""
    ops = plan.stages[stage].ops
    if plan.stages[stage].streamed:
        calls = stage_calls(graph, selections, plan.stages[stage])
        _require(calls is not None, f"stage {stage} streams ops {ops}, not all of which can run row by row")
        return calls or []
    lowered, op = selections[ops[0]].lowered, graph.ops[ops[0]]
    assert lowered is not None
    context = OpContext(graph, op)
    tensors = tuple(graph.activations(op))
    columns = whole_width(graph.tensors[op.outputs[0]])
    return [RowOp(ops[0], context, lowered, lowered.access, tensors, op.outputs[0], columns)]


def _check_rings(graph: Graph, selections: Sequence[Selection], plan: Plan, stage: int) -> None:
    """Execute a streamed stage with tags for rows: every ring still holds the rows that are read.

    One strip does, as all compute the same rows.
    """
    streamed = plan.stages[stage].streamed
    calls = _calls(graph, selections, plan, stage)
    inner = {call.output for call in calls[:-1]}
    for buffer in plan.buffers:
        _require(
            buffer.kind is not BufferKind.RING
            or not buffer.first <= stage <= buffer.last
            or (len(buffer.tensors) == 1 and inner.issuperset(buffer.tensors)),
            f"stage {stage}: ring {buffer.name!r} holds tensors {buffer.tensors}, "
            f"the stage's inner tensors are {sorted(inner)}",
        )
    if not streamed:
        return
    rings: dict[int, _Ring] = {}  # by inner tensor that has one
    for call in calls[:-1]:
        _require(
            call.output not in graph.results or call.op == FEED,
            f"stage {stage}: tensor {call.output} is a model output, but only a ring of this stage",
        )
        own = plan.ring_of(call.output, stage)
        _require(
            (own is not None and own.first == own.last) if call.onto is None else own is None,
            f"stage {stage}: tensor {call.output} is not a ring of this stage",
        )
        _require(
            call.onto is None or call.may_lie_on(next(host for host in calls if host.output == call.onto)),
            f"stage {stage}: op {call.op} cannot write its rows over those of tensor {call.onto}",
        )
        if own is not None:
            rings[call.output] = _Ring(call, own.size_bytes)
    computed = [0] * calls[-1].access.rows
    for event in events(calls, plan.stages[stage].bands):
        call = calls[event.index]
        for tensor, row_map in call.reads():
            if tensor not in inner:
                continue
            producer = next(other for other in calls if other.output == tensor)
            ring = rings[ring_host(calls, tensor).output]
            lost = [row for row in event.rows_read(row_map) if not ring.holds(producer, row)]
            _require(
                not lost,
                f"stage {stage}: op {call.op} reads rows {lost} of tensor {tensor} that its ring has lost",
            )
        if call.output in inner:
            ring = rings[ring_host(calls, call.output).output]
            _require(
                ring.write(call, event.row, event.end),
                f"stage {stage}: op {call.op} writes rows [{event.row}, {event.end}) beyond its ring",
            )
        if event.index == len(calls) - 1:
            for row in range(event.row, event.end):
                computed[row] += 1
    _require(computed == [1] * len(computed), f"stage {stage} does not compute every row of its output once")


class _Ring:
    """A ring whose every byte knows of which row of which tensor it is."""

    def __init__(self, host: RowOp, size_bytes: int) -> None:
        self.slot_bytes = host.access.row_bytes
        self.slots = ring_slots(size_bytes, host)
        self.owner: _Bytes = np.full(self.slots * self.slot_bytes, -1, np.int64)

    def _range(self, call: RowOp, row: int) -> slice:
        start = call.place(row, self.slots, self.slot_bytes)
        return slice(start, start + call.access.row_bytes)

    def holds(self, producer: RowOp, row: int) -> bool:
        """Whether all bytes of a row are still its own."""
        held = self.owner[self._range(producer, row)] == _id(producer, row) if self.slots else np.False_
        return bool(np.all(held))

    def write(self, call: RowOp, first: int, end: int) -> bool:
        """Write the rows of a call; False where they do not lie one behind the other inside the ring."""
        if not self.slots:
            return False
        ranges = [self._range(call, row) for row in range(first, end)]
        if any(after.start != before.stop for before, after in itertools.pairwise(ranges)):
            return False
        for row, place in enumerate(ranges, first):
            self.owner[place] = _id(call, row)
        return bool(ranges[-1].stop <= self.owner.size)


def _id(call: RowOp, row: int) -> int:
    return call.output << 32 | row


def _check_columns(graph: Graph, selections: Sequence[Selection], plan: Plan, stage: int) -> None:
    """Prove of every strip that the columns read are held, and of all that they cover the output."""
    if plan.stages[stage].strips == 1:
        return
    calls = _calls(graph, selections, plan, stage)
    held = {call.output: call.columns for call in calls[:-1]}
    blanked = {call.output for call in calls[:-1] if call.blanks or call.op == FEED}
    image_w = graph.tensors[calls[-1].output].shape[2]
    covered: set[int] = set()
    for start in strip_starts(image_w, plan.stages[stage].strips):
        for call in calls:
            for i, tensor in enumerate(call.inputs):
                first, end = call.need_span(i, start)
                have = held.get(tensor)
                if have is None:
                    from_, to = 0, graph.tensors[tensor].shape[2]
                else:
                    from_, to = have.first(start), have.first(start) + have.width
                _require(
                    from_ <= first and end <= to,
                    f"stage {stage}, strip at {start}: op {call.op} reads columns [{first}, {end}) of tensor "
                    f"{tensor}, which holds [{from_}, {to})",
                )
                outside = first < 0 or end > graph.tensors[tensor].shape[2]
                windowed = call.needs[i].width != call.columns.width
                _require(
                    not outside or not windowed or tensor in blanked,
                    f"stage {stage}, strip at {start}: op {call.op} slides over columns [{first}, {end}) of "
                    f"tensor {tensor}, whose columns outside the image are not zero points",
                )
        left, computed = calls[-1].span(start)
        covered.update(range(start + left, start + left + computed))
    _require(covered == set(range(image_w)), f"stage {stage}: its strips do not cover columns 0 to {image_w}")


def _check_scratch(graph: Graph, selections: Sequence[Selection], plan: Plan) -> dict[int, int]:
    """Return the index of the scratch buffer of every stage that has one."""
    scratch_of: dict[int, int] = {}
    states = [buffer for buffer in plan.buffers if buffer.kind is BufferKind.STATE]
    for buffer in states:
        _require(buffer.first == buffer.last, f"state {buffer.name!r} outlives its stage")
        _require(buffer.offset % 8 == 0, f"state {buffer.name!r} at {buffer.offset} is not aligned to 8")
    for index, buffer in enumerate(plan.buffers):
        if buffer.kind is not BufferKind.SCRATCH:
            continue
        _require(buffer.first == buffer.last, f"scratch {buffer.name!r} outlives its stage")
        _require(buffer.first not in scratch_of, f"stage {buffer.first} has two scratch buffers")
        _require(buffer.offset % 8 == 0, f"scratch {buffer.name!r} at {buffer.offset} is not aligned to 8")
        scratch_of[buffer.first] = index
    for index, stage in enumerate(plan.stages):
        lowered = selections[stage.ops[0]].lowered
        assert lowered is not None
        _require(
            not stage.bottom_up
            or (
                not stage.streamed
                and lowered.loop is not None
                and lowered.batches == 1
                and lowered.access.granule == lowered.loop.step
            ),
            f"stage {index} (op {stage.ops[0]}) runs bottom up, but its kernel has no loop over rows",
        )
        calls = _calls(graph, selections, plan, index)
        wanted = max(call.scratch_bytes for call in calls)
        offered = plan.buffers[scratch_of[index]].size_bytes if index in scratch_of else 0
        _require(
            offered >= wanted,
            f"stage {index} (op {stage.ops[0]}) has {offered} B of scratch, its kernel wants {wanted} B",
        )
        kept = state_bytes(calls[-1], len(calls), pushed=stage.pushed)
        sizes = [buffer.size_bytes for buffer in states if buffer.first == index]
        _require(
            len(sizes) <= 1 and sum(sizes) >= kept,
            f"stage {index} (op {stage.ops[0]}) has states of {sizes} B, it remembers {kept} B",
        )
    return scratch_of


def _check_bodies(
    graph: Graph, selections: Sequence[Selection], plan: Plan, stage_of: dict[int, int]
) -> None:
    """Prove the plan of every loop's body, and that it fits the loop's scratch."""
    loops = {op: attrs for op in stage_of if isinstance(attrs := graph.ops[op].attrs, LoopAttrs)}
    _require(
        sorted(op for op, _ in plan.bodies) == sorted(loops),
        f"plans of the bodies of ops {[op for op, _ in plan.bodies]}, loops are {sorted(loops)}",
    )
    for op, body in plan.bodies:
        check(loops[op].body, selections[op].body, body)
        scratch = plan.scratch_of(stage_of[op])
        offered = scratch.size_bytes if scratch is not None else 0
        _require(
            offered >= body.arena_bytes and body.alignment <= 8,
            f"op {op} has {offered} B of scratch, its body wants {body.arena_bytes} B",
        )
        _require(not any(stage.pushed for stage in body.stages), f"op {op}: rows are pushed into its body")


def _check_lifetimes(graph: Graph, plan: Plan, stage_of: dict[int, int], buffer_of: dict[int, int]) -> None:
    end = max(len(plan.stages) - 1, 0)
    uses = [(t, 0, "model input") for t in graph.inputs]
    uses += [(t, end, "model output") for t in graph.outputs if t in buffer_of]
    uses += [(state.tensor, stage, "state") for state in graph.states for stage in (0, end)]
    uses += [(state.result, end, "what a state becomes") for state in graph.states]
    for op, stage in stage_of.items():
        uses += [(t, stage, f"input of op {op}") for t in graph.activations(graph.ops[op])]
        uses += [(t, stage, f"output of op {op}") for t in graph.ops[op].outputs]
    for tensor, stage, role in uses:
        buffer = plan.buffers[buffer_of[tensor]]
        _require(
            buffer.first <= stage <= buffer.last,
            f"tensor {tensor}, {role}, is used in stage {stage}, but its buffer is live in "
            f"[{buffer.first}, {buffer.last}]",
        )


def _check_arena(plan: Plan) -> None:
    end = max((buffer.offset + buffer.size_bytes for buffer in plan.buffers), default=0)
    _require(plan.arena_bytes == end, f"the arena is {plan.arena_bytes} B, its buffers end at {end} B")
    _require(
        plan.lower_bound_bytes <= plan.arena_bytes,
        f"the lower bound of {plan.lower_bound_bytes} B is above the arena of {plan.arena_bytes} B",
    )
    _require(
        0 <= plan.peak_stage < max(len(plan.stages), 1),
        f"the peak stage {plan.peak_stage} is not one of the plan's",
    )


def _check_fills(
    graph: Graph, selections: Sequence[Selection], plan: Plan, buffer_of: dict[int, int]
) -> None:
    """Prove that rows of zero points overwrite nothing that is needed, and are whole when they are read."""
    stages = [fill.stage for fill in plan.fills]
    _require(
        len(set(stages)) == len(stages) and set(stages) <= set(range(len(plan.stages))),
        f"rows of zero points are filled in stages {stages}, of {len(plan.stages)}: one in each at most",
    )
    for fill in plan.fills:
        stage = plan.stages[fill.stage]
        end = fill.offset + fill.size_bytes
        where = f"stage {fill.stage}: the zero points [{fill.offset}, {end})"
        lowered = selections[stage.ops[0]].lowered
        assert lowered is not None
        loop, access = lowered.loop, lowered.access
        if stage.streamed or loop is None or loop.pad_value is None:
            raise PlanError(f"{where} are of an operator that wants none")
        _require(
            (fill.value, fill.size_bytes) == (loop.pad_value, loop.in_row_bytes),
            f"{where} of value {fill.value} are not a row of {loop.in_row_bytes} B of {loop.pad_value}",
        )
        _require(fill.offset >= 0 and end <= plan.arena_bytes, f"{where} leave the arena")
        calls = [first for first, _ in (access.steps_bottom_up() if stage.bottom_up else access.steps())]
        begun = 0  # the call before which they are filled
        if fill.fill_at is not None:
            _require(
                fill.fill_at in calls and access.granule == loop.step and lowered.batches == 1,
                f"{where} are filled before row {fill.fill_at}, where no call begins",
            )
            begun = calls.index(fill.fill_at)
            early = [row for row in calls[:begun] if loop.reaches_outside(row)]
            _require(not early, f"{where} are filled before row {fill.fill_at}, but read for rows {early}")
        op = graph.ops[stage.ops[0]]
        reads = graph.activations(op)
        for index, buffer in enumerate(plan.buffers):
            if not buffer.first <= fill.stage <= buffer.last:
                continue
            if end <= buffer.offset or buffer.offset + buffer.size_bytes <= fill.offset:
                continue
            meet = f"{where} meet buffer {buffer.name!r}"
            _require(
                fill.fill_at is not None
                and index in {buffer_of[t] for t in reads}
                and buffer_of[op.outputs[0]] != index,
                meet,
            )
            later = _used_later(graph, plan, fill.stage, index, buffer_of)
            _require(not later, f"{meet}, which is needed afterwards: {later}")
            for tensor, row_map in zip(reads, access.inputs, strict=True):
                if buffer_of[tensor] != index:
                    continue
                base = buffer.offset_of(tensor)
                for first in calls[begun:]:
                    rows = range(first, min(first + access.granule, access.rows))
                    from_, to = 0, graph.tensors[tensor].size_bytes
                    if row_map is not None:
                        from_ = min(row_map.first(row) for row in rows) * row_map.row_bytes
                        to = (max(row_map.last(row) for row in rows) + 1) * row_map.row_bytes
                    _require(
                        from_ >= to or base + to <= fill.offset or end <= base + from_,
                        f"{meet}, of which row {first} reads bytes [{from_}, {to})",
                    )


def _meet(a: Buffer, b: Buffer) -> bool:
    return a.offset < b.offset + b.size_bytes and b.offset < a.offset + a.size_bytes


def _check_overlap(
    graph: Graph,
    selections: Sequence[Selection],
    plan: Plan,
    stage: int,
    a: int,
    b: int,
    buffer_of: dict[int, int],
    scratch_of: dict[int, int],
) -> None:
    """Prove that two buffers which meet in a stage are an output and an input dying under it."""
    buffers = plan.buffers
    where = (
        f"buffers {buffers[a].name!r} [{buffers[a].offset}, {buffers[a].offset + buffers[a].size_bytes}) and "
        f"{buffers[b].name!r} [{buffers[b].offset}, {buffers[b].offset + buffers[b].size_bytes}) "
        f"meet in stage {stage}"
    )
    _require(stage < len(plan.stages), where)
    _require(scratch_of.get(stage) not in (a, b), f"{where}: one is scratch")
    once = plan.stages[stage].strips == plan.stages[stage].bands == 1
    _require(once, f"{where}: a stage in strips or bands reads its inputs again")
    calls = _calls(graph, selections, plan, stage)
    op = calls[-1].op
    inner = {call.output for call in calls[:-1]}
    tensors = [t for call in calls for t in call.inputs if t not in inner]
    reads = [buffer_of[t] for t in tensors]
    output = buffer_of[calls[-1].output]
    _require(
        (output == a and b in reads) or (output == b and a in reads),
        f"{where}, but are not an output and an input of its op {op}",
    )
    source = b if output == a else a
    _require(buffers[output].first == stage, f"{where}: the output existed before")
    later = _used_later(graph, plan, stage, source, buffer_of)
    _require(not later, f"{where}, but the input is needed afterwards: {later}")
    if plan.stages[stage].streamed:
        lost = _first_lost_row(calls, buffer_of, buffers, output, source)
        _require(lost is None, f"{where}: the stage overwrites bytes before {lost}")
        return
    lowered = calls[0].lowered
    assert lowered is not None
    written = buffers[output].offset_of(calls[-1].output)
    for i, tensor in enumerate(tensors):
        if buffer_of[tensor] == source:
            bottom_up = plan.stages[stage].bottom_up
            place = buffers[source].offset_of(tensor), graph.tensors[tensor].size_bytes
            clash = _first_clash(lowered.access, i, written, place, bottom_up)
            _require(
                clash is None,
                f"{where}: step {clash} of op {op} overwrites bytes of input {i} that are still to be read",
            )


def _first_lost_row(
    calls: Sequence[RowOp], buffer_of: dict[int, int], buffers: Sequence[Buffer], output: int, source: int
) -> str | None:
    """Execute a streamed stage; name the first call that reads bytes of the input already overwritten.

    A call may write before it has read, so the rows it writes count as written.
    """
    start = buffers[output].offset_of(calls[-1].output)
    written = 0
    for event in events(calls):
        call = calls[event.index]
        if event.index == len(calls) - 1:
            written = written_bytes(call, event.end)
        for tensor, row_map in call.reads():
            if buffer_of[tensor] != source:
                continue
            base = buffers[source].offset_of(tensor)
            rows = event.rows_read(row_map)
            first, end = rows.start * row_map.row_bytes, rows.stop * row_map.row_bytes
            if first < end and written and start < base + end and base + first < start + written:
                return f"op {call.op} reads them for its row {event.row}"
    return None


def _used_later(graph: Graph, plan: Plan, stage: int, buffer: int, buffer_of: dict[int, int]) -> str:
    """Name a use of the buffer after the stage, from the graph rather than from Buffer.last."""
    for t in graph.results:
        if buffer_of.get(t) == buffer:
            return "a model output" if t in graph.outputs else "a state"
    for index in range(stage + 1, len(plan.stages)):
        for op in plan.stages[index].ops:
            if any(buffer_of[t] == buffer for t in graph.activations(graph.ops[op])):
                return f"op {op} reads it in stage {index}"
    return ""


def _first_clash(
    access: AccessMap, i: int, output_offset: int, source: tuple[int, int], bottom_up: bool
) -> int | None:
    """Walk the steps; return the first that writes bytes of input i which it or a later one reads.

    `source` is the input's offset and size.

    A step of an unbuffered kernel still reads its own rows while it writes; one of a buffered kernel
    has read them all. All steps are computed at once, as arrays over output rows and steps.
    """
    starts: _Bytes = np.arange(0, access.rows, access.granule, dtype=np.int64)
    ends = np.minimum(starts + access.granule, access.rows)
    rows: _Bytes = np.arange(access.rows, dtype=np.int64)  # output rows in the order they are computed
    if bottom_up:
        rows = rows[::-1]
    write_from = output_offset + np.minimum(rows[starts], rows[ends - 1]) * access.row_bytes
    write_to = output_offset + (np.maximum(rows[starts], rows[ends - 1]) + 1) * access.row_bytes
    reading_from = ends if access.buffered else starts  # first computed row whose inputs are still needed
    row_map = access.inputs[i]
    if row_map is None:  # one row, read by every output row
        row_map = RowMap(rows=1, row_bytes=source[1], mul=0)
    first = np.clip((row_map.mul * rows + row_map.lo) // row_map.div, 0, row_map.rows)
    end = np.clip((row_map.mul * rows + row_map.hi) // row_map.div + 1, 0, row_map.rows)
    empty = end <= first
    # Extremes over this output row and all that follow; one more entry for "no row follows".
    none_from, none_to = row_map.rows, 0
    first = np.append(np.where(empty, none_from, first), none_from)
    end = np.append(np.where(empty, none_to, end), none_to)
    first = np.minimum.accumulate(first[::-1])[::-1][reading_from]
    end = np.maximum.accumulate(end[::-1])[::-1][reading_from]
    read_from = source[0] + first * row_map.row_bytes
    read_to = source[0] + end * row_map.row_bytes
    clash = (read_from < read_to) & (write_from < read_to) & (read_from < write_to)
    return int(np.argmax(clash)) if clash.any() else None
