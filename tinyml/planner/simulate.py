"""A plan executed in one byte arena, with every byte that is said to be dead poisoned.

The reference kernels run at the planned offsets, step by step of each access map. Whatever the plan
or the map calls dead is overwritten with random bytes at once, so a wrong offset, lifetime, distance
or map shows as a wrong output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyml.access import AccessMap
from tinyml.graph import Array, Graph
from tinyml.planner.plan import Buffer, Plan
from tinyml.planner.stream import RowOp, events, ring_slots, row_ops
from tinyml.reference import run_rows

if TYPE_CHECKING:
    from tinyml.select import Selection

_Arena = npt.NDArray[np.uint8]


def simulate(
    graph: Graph,
    selections: Sequence[Selection],
    plan: Plan,
    inputs: Mapping[int, Array],
    seed: int = 0,
) -> dict[int, Array]:
    """Execute a plan and return the model outputs by tensor index.

    Poisoned with random bytes: the whole arena at first; per step the scratch buffer, and the output
    rows of the step (before an unbuffered kernel reads its input, after a buffered one has); after
    the step every byte of a dying input that the access map says no later step reads; after each
    stage every byte that no buffer live later covers.

    Args:
        graph: the network.
        selections: one per operator, in order.
        plan: its plan; it need not have passed `check`, as long as its buffers lie in the arena.
        inputs: model inputs by tensor index, each of its tensor's shape and type.
        seed: of the poison.

    Returns:
        The model outputs; equal to `reference.run` bit for bit if plan and access maps are right.
    """
    machine = _Machine(graph, plan, seed)
    for tensor in graph.inputs:
        machine.view(tensor)[...] = inputs[tensor]
    for stage in range(len(plan.stages)):
        machine.run_stage(stage, selections)
    return {
        tensor: data if (data := graph.tensors[tensor].data) is not None else machine.view(tensor).copy()
        for tensor in graph.outputs
    }


class _Machine:
    def __init__(self, graph: Graph, plan: Plan, seed: int) -> None:
        self.graph = graph
        self.plan = plan
        self.rng = np.random.default_rng(seed)
        self.arena: _Arena = self._random(plan.arena_bytes)
        self.buffers = {tensor: buffer for buffer in plan.buffers for tensor in buffer.tensors}
        self.kept = {id(self.buffers[t]) for t in graph.outputs if t in self.buffers}

    def _random(self, size: int) -> _Arena:
        return self.rng.integers(0, 256, size, dtype=np.uint8)

    def view(self, tensor: int) -> Array:
        """The tensor's bytes in the arena, as an array of its shape and type."""
        description = self.graph.tensors[tensor]
        offset = self.buffers[tensor].offset
        raw = self.arena[offset : offset + description.size_bytes]
        return raw.view(description.dtype.value).reshape(description.shape)

    def poison(self, start: int, end: int) -> None:
        self.arena[start:end] = self._random(max(end - start, 0))

    def run_stage(self, stage: int, selections: Sequence[Selection]) -> None:
        if len(self.plan.stages[stage].ops) > 1:
            self.stream_stage(stage, selections)
            return
        (op_index,) = self.plan.stages[stage].ops
        op = self.graph.ops[op_index]
        lowered = selections[op_index].lowered
        assert lowered is not None
        access = lowered.access
        activations = self.graph.activations(op)
        output = self.buffers[op.outputs[0]]
        scratch = self.plan.scratch_of(stage)
        # Per dying tensor, the bytes that are poisoned: from its start, or bottom up from its end.
        freed: dict[int, int] = {}
        for tensor in activations:
            buffer = self.buffers[tensor]
            if buffer.last == stage and id(buffer) not in self.kept:
                freed[tensor] = 0
        bottom_up = self.plan.stages[stage].bottom_up
        for first, end in access.steps_bottom_up() if bottom_up else access.steps():
            start, stop = (output.offset + row * access.row_bytes for row in (first, end))
            if scratch is not None:
                self.poison(scratch.offset, scratch.offset + scratch.size_bytes)
            if not access.buffered:
                self.poison(start, stop)
            values = {t: self.view(t) for t in activations}
            # A copy: the rows of a kernel that only moves bytes may be a view of the arena.
            rows = run_rows(self.graph, op, access, values, first, end).flatten()
            if access.buffered:
                self.poison(start, stop)
            self.arena[start:stop] = rows.view(np.uint8)
            for tensor in freed:
                same = [i for i, t in enumerate(activations) if self.buffers[t] is self.buffers[tensor]]
                offset = self.buffers[tensor].offset
                written = output.offset + output.size_bytes if bottom_up else stop
                if bottom_up:
                    end_byte = offset + self.buffers[tensor].size_bytes
                    unread_to = max(_unread_to(access, i, first) for i in same)
                    free_from, free_to = offset + unread_to, end_byte - freed[tensor]
                    freed[tensor] = max(freed[tensor], end_byte - free_from)
                else:
                    unread = min(_unread_from(access, i, end, self.buffers[tensor]) for i in same)
                    free_from, free_to = offset + freed[tensor], offset + unread
                    freed[tensor] = max(freed[tensor], unread)
                # The output's rows written so far may lie anywhere in the bytes that are free now.
                self.poison(free_from, min(free_to, start if bottom_up else output.offset))
                self.poison(max(free_from, written), free_to)
        self._poison_dead(stage)

    def stream_stage(self, stage: int, selections: Sequence[Selection]) -> None:
        """Run a streamed stage call by call; the bytes of a row are poisoned before it is written."""
        operators = row_ops(self.graph, selections, self.plan.stages[stage])
        rings = {call.output: call for call in operators[:-1]}
        scratch = self.plan.scratch_of(stage)
        for event in events(operators):
            call = operators[event.index]
            buffer = self.buffers[call.output]
            row_bytes = call.access.row_bytes
            slots = ring_slots(buffer.size_bytes, call)
            start = buffer.offset + (event.row % slots if call.output in rings else event.row) * row_bytes
            stop = start + (event.end - event.row) * row_bytes
            if scratch is not None:
                self.poison(scratch.offset, scratch.offset + scratch.size_bytes)
            self.poison(start, stop)
            values = {
                tensor: self.ring_rows(rings[tensor], event.rows_read(row_map))
                if tensor in rings
                else self.view(tensor)
                for tensor, row_map in call.reads()
            }
            op = self.graph.ops[call.op]
            rows = run_rows(self.graph, op, call.access, values, event.row, event.end).flatten()
            self.arena[start:stop] = rows.view(np.uint8)
        self._poison_dead(stage)

    def ring_rows(self, producer: RowOp, rows: range) -> Array:
        """An inner tensor as an array of its whole shape, poisoned but for the rows that are read."""
        description = self.graph.tensors[producer.output]
        whole = self._random(description.size_bytes)
        buffer, row_bytes = self.buffers[producer.output], producer.access.row_bytes
        for row in rows:
            at = buffer.offset + row % ring_slots(buffer.size_bytes, producer) * row_bytes
            whole[row * row_bytes : (row + 1) * row_bytes] = self.arena[at : at + row_bytes]
        return whole.view(description.dtype.value).reshape(description.shape)

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


def _unread_from(access: AccessMap, i: int, row: int, source: Buffer) -> int:
    """First byte of input i that output rows from `row` on read; its size where none does."""
    if row >= access.rows:
        return source.size_bytes
    row_map = access.inputs[i]
    return 0 if row_map is None else row_map.first(row) * row_map.row_bytes
