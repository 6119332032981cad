"""A plan executed in one byte arena, with every byte that is said to be dead poisoned.

The reference kernels run at the planned offsets, step by step of each access map. Whatever the plan
or the map calls dead is overwritten with random bytes at once, so a wrong offset, lifetime, distance
or map shows as a wrong output.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyml.access import AccessMap
from tinyml.graph import Array, Graph, LoopAttrs
from tinyml.planner.plan import Fill, Plan
from tinyml.planner.stream import (
    FEED,
    Event,
    RowOp,
    events,
    ring_host,
    ring_slots,
    stage_calls,
    strip_starts,
    whole_width,
)
from tinyml.reference import finish_sums, run_rows

if TYPE_CHECKING:
    from tinyml.select import Selection

_Arena = npt.NDArray[np.uint8]


def simulate(
    graph: Graph,
    selections: Sequence[Selection],
    plan: Plan,
    inputs: Mapping[int, Array],
    seed: int = 0,
    states: dict[int, Array] | None = None,
) -> dict[int, Array]:
    """Execute a plan and return the model outputs by tensor index.

    Poisoned with random bytes: the whole arena at first; per step the scratch buffer, and the output
    rows of the step (before an unbuffered kernel reads its input, after a buffered one has); after
    the step every byte of a dying input that the access map says no later step reads; after each
    stage every byte that no buffer live later covers. A row of zero points is written where and when the
    plan says, and rows that read it are random where it is not whole any more.

    Args:
        graph: the network.
        selections: one per operator, in order.
        plan: its plan; it need not have passed `check`, as long as its buffers lie in the arena.
        inputs: model inputs by tensor index, each of its tensor's shape and type.
        seed: of the poison.
        states: by tensor, what the network remembers; afterwards what it remembers then. Without, those
            before the first inference.

    Returns:
        The model outputs; equal to `reference.run` bit for bit if plan and access maps are right.
    """
    machine = _Machine(graph, plan, seed)
    for state in graph.states:
        machine.view(state.tensor)[...] = (states or graph.initial_states())[state.tensor]
    for tensor in graph.inputs:
        if plan.is_pushed(tensor):
            machine.pushed = np.asarray(inputs[tensor])
        else:
            machine.view(tensor)[...] = inputs[tensor]
    for stage in range(len(plan.stages)):
        machine.run_stage(stage, selections)
    if states is not None:
        states.update({s.tensor: machine.view(s.result).copy() for s in graph.states})
    return {
        tensor: data if (data := graph.tensors[tensor].data) is not None else machine.view(tensor).copy()
        for tensor in graph.outputs
    }


class _Machine:
    def __init__(self, graph: Graph, plan: Plan, seed: int, arena: _Arena | None = None) -> None:
        self.graph = graph
        self.plan = plan
        self.rng = np.random.default_rng(seed)
        self.arena: _Arena = self._random(plan.arena_bytes) if arena is None else arena
        self.buffers = {t: plan.buffer_of(t) for buffer in plan.buffers for t in buffer.tensors}
        self.pushed: Array | None = None
        self.kept = {id(self.buffers[t]) for t in graph.results if t in self.buffers}

    def _random(self, size: int) -> _Arena:
        return self.rng.integers(0, 256, size, dtype=np.uint8)

    def view(self, tensor: int) -> Array:
        """The tensor's bytes in the arena, as an array of its shape and type."""
        description = self.graph.tensors[tensor]
        offset = self.buffers[tensor].offset_of(tensor)
        raw = self.arena[offset : offset + description.size_bytes]
        return raw.view(description.dtype.value).reshape(description.shape)

    def poison(self, start: int, end: int) -> None:
        self.arena[start:end] = self._random(max(end - start, 0))

    def run_stage(self, stage: int, selections: Sequence[Selection]) -> None:
        if self.plan.stages[stage].streamed:
            self.stream_stage(stage, selections)
            return
        (op_index,) = self.plan.stages[stage].ops
        op = self.graph.ops[op_index]
        lowered = selections[op_index].lowered
        assert lowered is not None
        access = lowered.access
        activations = self.graph.activations(op)
        output_start = self.buffers[op.outputs[0]].offset_of(op.outputs[0])
        output_end = output_start + self.graph.tensors[op.outputs[0]].size_bytes
        scratch = self.plan.scratch_of(stage)
        if isinstance(op.attrs, LoopAttrs):
            self.poison(output_start, output_end)
            self.run_loop(stage, op_index, op.attrs, selections[op_index].body)
            self._poison_dead(stage)
            return
        # Per dying tensor, the bytes that are poisoned: from its start, or bottom up from its end.
        freed: dict[int, int] = {}
        for tensor in activations:
            buffer = self.buffers[tensor]
            if buffer.last == stage and id(buffer) not in self.kept | {id(self.buffers[op.outputs[0]])}:
                freed[tensor] = 0
        bottom_up = self.plan.stages[stage].bottom_up
        fill, loop = self.plan.fill_of(stage), lowered.loop
        if fill is not None and fill.fill_at is None:
            self.fill(fill)
        for first, end in access.steps_bottom_up() if bottom_up else access.steps():
            if fill is not None and fill.fill_at == first:
                self.fill(fill)
            start, stop = (output_start + row * access.row_bytes for row in (first, end))
            if scratch is not None:
                self.poison(scratch.offset, scratch.offset + scratch.size_bytes)
            if not access.buffered:
                self.poison(start, stop)
            values = {t: self.view(t) for t in activations}
            # A copy: the rows of a kernel that only moves bytes may be a view of the arena.
            rows = run_rows(self.graph, op, access, values, first, end).flatten()
            if fill is not None and loop is not None and loop.reaches_outside(first):
                held = self.arena[fill.offset : fill.offset + fill.size_bytes].view(np.int8)
                if not (held == loop.pad_value).all():  # the kernel reads something else there
                    rows = self._random(rows.nbytes).view(rows.dtype)
            if access.buffered:
                self.poison(start, stop)
            self.arena[start:stop] = rows.view(np.uint8)
            for tensor in freed:
                same = [i for i, t in enumerate(activations) if self.buffers[t] is self.buffers[tensor]]
                buffer = self.buffers[tensor]
                offset = buffer.offset
                place = {i: buffer.offset_of(activations[i]) - offset for i in same}
                written = output_end if bottom_up else stop
                if bottom_up:
                    end_byte = offset + buffer.size_bytes
                    unread_to = max(place[i] + _unread_to(access, i, first) for i in same)
                    free_from, free_to = offset + unread_to, end_byte - freed[tensor]
                    freed[tensor] = max(freed[tensor], end_byte - free_from)
                else:
                    unread = buffer.size_bytes
                    if end < access.rows:
                        unread = min(place[i] + _unread_from(access, i, end) for i in same)
                    free_from, free_to = offset + freed[tensor], offset + unread
                    freed[tensor] = max(freed[tensor], unread)
                # The output's rows written so far may lie anywhere in the bytes that are free now.
                self.poison(free_from, min(free_to, start if bottom_up else output_start))
                self.poison(max(free_from, written), free_to)
        self._poison_dead(stage)

    def run_loop(self, stage: int, index: int, attrs: LoopAttrs, selections: Sequence[Selection]) -> None:
        """Run a loop's body in the loop's scratch buffer, step by step."""
        scratch, body, op = self.plan.scratch_of(stage), attrs.body, self.graph.ops[index]
        assert scratch is not None
        self.poison(scratch.offset, scratch.offset + scratch.size_bytes)
        plan = self.plan.body_of(index)
        arena = self.arena[scratch.offset : scratch.offset + plan.arena_bytes]
        machine = _Machine(body, plan, index, arena)
        operands = [self._operand(t) for t in op.inputs]
        for state, first in zip(body.states, operands[attrs.initial :], strict=True):
            machine.view(state.tensor)[...] = state.initial if first is None else first
        output = self.view(op.outputs[0])
        for n in range(attrs.steps):
            for position, tensor in enumerate(body.inputs):
                value = operands[position]
                assert value is not None
                if position < len(attrs.walks):
                    walk = attrs.walks[position]
                    value = value[walk.first + n * walk.step]
                machine.view(tensor)[...] = value.reshape(body.tensors[tensor].shape)
            for inner in range(len(plan.stages)):
                machine.run_stage(inner, selections)
            computed = machine.view(body.outputs[0])
            if attrs.collects is None:
                output[...] = computed.reshape(output.shape)
            else:
                row = attrs.collects.first + n * attrs.collects.step
                output[row] = computed.reshape(output.shape[1:])
            following = [machine.view(state.result).copy() for state in body.states]
            for state, value in zip(body.states, following, strict=True):
                machine.view(state.tensor)[...] = value

    def _operand(self, tensor: int) -> Array | None:
        """Return an operand's values, None where an optional one is absent."""
        if tensor < 0:
            return None
        data = self.graph.tensors[tensor].data
        return data if data is not None else self.view(tensor)

    def fill(self, fill: Fill) -> None:
        """Write a row of zero points, over whatever is there."""
        self.arena[fill.offset : fill.offset + fill.size_bytes] = fill.value & 0xFF

    def stream_stage(self, stage: int, selections: Sequence[Selection]) -> None:
        """Run a streamed stage call by call; the bytes of a row are poisoned before it is written."""
        calls = stage_calls(self.graph, selections, self.plan.stages[stage])
        assert calls is not None
        strips, bands = self.plan.stages[stage].strips, self.plan.stages[stage].bands
        image_w = whole_width(self.graph.tensors[calls[-1].output]).width
        for x in strip_starts(image_w, strips):
            for event in events(calls, bands):
                self.stream_call(stage, calls, event, x)
        self._poison_dead(stage)

    def stream_call(self, stage: int, calls: Sequence[RowOp], event: Event, x: int) -> None:
        """Make one call of a streamed stage, for the strip whose output starts at column x."""
        call = calls[event.index]
        rings = {op.output: op for op in calls[:-1]}
        scratch = self.plan.scratch_of(stage)
        if scratch is not None:
            self.poison(scratch.offset, scratch.offset + scratch.size_bytes)
        if call.op == FEED:
            first = call.columns.first(x)
            source = self.pushed if self.plan.is_pushed(call.output) else self.view(call.output)
            assert source is not None
            rows = self.columns(source[:, event.row : event.end], first, call.columns.width, call.output)
        else:
            values = {}
            for i, (tensor, row_map) in enumerate(call.reads()):
                first, end = call.need_span(i, x)
                if tensor in rings:
                    rows_read = event.rows_read(row_map)
                    held = self.ring_rows(stage, calls, rings[tensor], rows_read)
                    first, end = (column - rings[tensor].columns.first(x) for column in (first, end))
                else:
                    held = self.view(tensor)
                values[tensor] = held[:, :, first:end] if held.ndim == 4 else held
            if call.sums is not None:
                self.sum_row(stage, call, event, values[call.inputs[0]])
                return
            rows = self.strip_rows(call, event, values, x)
        data = np.ascontiguousarray(rows).reshape(event.end - event.row, -1).view(np.uint8)
        for i, line in enumerate(data):
            if call.output in rings:
                start = self.ring_row(stage, calls, call, event.row + i)
            else:
                output = self.graph.tensors[call.output]
                pitch = output.size_bytes // output.shape[1]
                column = call.columns.first(x) * pitch // output.shape[2]
                start = self.buffers[call.output].offset_of(call.output) + (event.row + i) * pitch + column
                left, computed = call.span(x)  # the last strip may reach beyond the image
                line = line[: (left + computed) * pitch // output.shape[2]]
            self.poison(start, start + line.size)
            self.arena[start : start + line.size] = line

    def strip_rows(self, call: RowOp, event: Event, values: Mapping[int, Array], x: int) -> Array:
        """Rows of an operator on a strip: [1, rows, columns, channels], random where nothing is computed."""
        assert call.context is not None
        left, computed = call.span(x)
        graph, op = call.context.graph, call.context.op
        tensors = list(graph.tensors)
        for tensor, value in values.items():
            tensors[tensor] = dataclasses.replace(tensors[tensor], shape=value.shape)
        output = tensors[call.output]
        batch, height, _, channels = output.shape
        tensors[call.output] = dataclasses.replace(output, shape=(batch, height, computed, channels))
        graph = graph.replace(tensors=tuple(tensors))
        access = dataclasses.replace(
            call.access,
            row_bytes=tensors[call.output].size_bytes // height,
            inputs=tuple(
                dataclasses.replace(row_map, row_bytes=tensors[t].size_bytes // row_map.rows)
                for t, row_map in call.reads()
            ),
        )
        inside = run_rows(graph, op, access, values, event.row, event.end)
        inside = inside.reshape(1, event.end - event.row, computed, channels)
        rows = self._random(inside.itemsize * (event.end - event.row) * call.columns.width * channels)
        strip = rows.view(inside.dtype).reshape(1, event.end - event.row, call.columns.width, channels)
        strip[:, :, left : left + computed] = inside
        if call.blanks:
            first, image_w = call.columns.first(x), self.graph.tensors[call.output].shape[2]
            outside = [c for c in range(call.columns.width) if not 0 <= first + c < image_w]
            strip[:, :, outside] = output.zero_point
        return strip

    def ring_row(self, stage: int, calls: Sequence[RowOp], call: RowOp, row: int) -> int:
        """Where in the arena a row of an inner tensor is."""
        host = ring_host(calls, call.output)
        buffer = self.plan.ring_of(host.output, stage)
        assert buffer is not None
        return buffer.offset + call.place(row, ring_slots(buffer.size_bytes, host), host.access.row_bytes)

    def sum_row(self, stage: int, call: RowOp, event: Event, image: Array) -> None:
        """Add a row to the sums in the arena; after the last one write the output."""
        state, context = self.plan.state_of(stage), call.context
        assert state is not None
        assert context is not None
        assert call.sums is not None
        sums = self.arena[state.offset : state.offset + 4 * call.sums.sums].view(np.int32)
        row = image[0, event.row].astype(np.int32).reshape(-1, call.sums.sums).sum(axis=0)
        sums[...] = row if event.row == 0 else sums + row
        if event.end == call.access.rows:
            output = finish_sums(self.graph, context.op, sums.astype(np.int64))
            view = self.view(call.output)
            view[...] = output.reshape(view.shape)

    def columns(self, rows: Array, first: int, width: int, tensor: int) -> Array:
        """Columns [first, first + width) of image rows [1, rows, image_w, channels], zero points outside."""
        image_w = rows.shape[2]
        left, right = max(-first, 0), max(first + width - image_w, 0)
        inside = rows[:, :, max(first, 0) : min(first + width, image_w)]
        fill = self.graph.tensors[tensor].zero_point if left or right else 0
        return np.pad(inside, ((0, 0), (0, 0), (left, right), (0, 0)), constant_values=fill)

    def ring_rows(self, stage: int, calls: Sequence[RowOp], producer: RowOp, rows: range) -> Array:
        """The strip of an inner tensor as an array of all its rows, poisoned but for those that are read."""
        description = self.graph.tensors[producer.output]
        _, height, _, channels = description.shape
        row_bytes = producer.access.row_bytes
        whole = self._random(height * row_bytes)
        for row in rows:
            at = self.ring_row(stage, calls, producer, row)
            whole[row * row_bytes : (row + 1) * row_bytes] = self.arena[at : at + row_bytes]
        return whole.view(description.dtype.value).reshape(1, height, producer.columns.width, channels)

    def _poison_dead(self, stage: int) -> None:
        """Poison every byte that no buffer live after the stage covers."""
        dead = np.ones(self.plan.arena_bytes, dtype=bool)
        for buffer in self.plan.buffers:
            if buffer.first <= stage and (buffer.last > stage or id(buffer) in self.kept):
                dead[buffer.offset : buffer.offset + buffer.size_bytes] = False
        self.arena[dead] = self._random(int(dead.sum()))


def _unread_to(access: AccessMap, i: int, row: int) -> int:
    """End of the bytes of input i that output rows below `row` read; 0 where there are none."""
    row_map = access.inputs[i]
    assert row_map is not None  # only such inputs allow rows to be computed bottom up
    return 0 if row == 0 else (row_map.last(row - 1) + 1) * row_map.row_bytes


def _unread_from(access: AccessMap, i: int, row: int) -> int:
    """First byte of input i that output rows from `row` on, which there are, may read."""
    row_map = access.inputs[i]
    return 0 if row_map is None else row_map.first(row) * row_map.row_bytes
