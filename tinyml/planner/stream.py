"""Row streaming: a run of operators executed together, row by row, with rings for what lies between.

The last operator asks for its output rows one after another; each operator asks its producers for the
input rows it lacks (demand-driven, depth first), so a row is computed just before it is needed and
computed once: no halo is recomputed and no multiply-accumulate is added. An inner tensor then needs
only its last few rows, a ring buffer.

Sources: StreamNet (Zheng et al., NeurIPS 2023), msf-CNN (Huang and Baccelli, 2025); the same schedule as
the line buffers of image pipelines (Hegarty et al., Darkroom, SIGGRAPH 2014).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinyml.access import AccessMap, RowMap
from tinyml.graph import Graph, Op, OpKind
from tinyml.kernels.registry import Lowered, OpContext
from tinyml.planner.plan import Stage

if TYPE_CHECKING:
    from tinyml.select import Selection

_ROW_BY_ROW = frozenset({OpKind.CONV_2D, OpKind.ADD, OpKind.MUL, OpKind.QUANTIZE})
"""Operators whose kernels compute whole tensors, but whose rows depend on the same rows only."""


@dataclass(frozen=True, slots=True, eq=False)
class RowOp:
    """An operator as a stage runs it: one output row per kernel call.

    Args:
        op: index into Graph.ops.
        lowered: the call for one row. With `loop` the kernel takes row pointers; without, the inputs'
            rows themselves.
        access: the operator's access map with image rows as its rows; no input is read as a whole.
        inputs: its activation inputs, as the access map orders them.
        output: its output tensor.
    """

    op: int
    lowered: Lowered
    access: AccessMap
    inputs: tuple[int, ...]
    output: int

    def reads(self) -> Iterator[tuple[int, RowMap]]:
        """Yield every input with its row map."""
        for tensor, row_map in zip(self.inputs, self.access.inputs, strict=True):
            assert row_map is not None
            yield tensor, row_map


def ring_slots(buffer_bytes: int, producer: RowOp) -> int:
    """Return the rows of a ring in a buffer: whole calls of its operator, so that none wraps."""
    step = producer.access.granule
    return buffer_bytes // producer.access.row_bytes // step * step


def row_op(graph: Graph, selection: Selection, *, single_rows: bool = False) -> RowOp | None:
    """Return how the selected kernel computes image rows, or None where it cannot.

    Args:
        graph: the network.
        selection: of the operator.
        single_rows: ask a kernel that can compute several rows per call for one: slower, with smaller rings.
    """
    op, kernel, lowered = graph.ops[selection.op], selection.kernel, selection.lowered
    if kernel is None or lowered is None:
        return None
    context = OpContext(graph, op)
    tensors = context.activation_inputs
    if any(len(graph.tensors[t].shape) != 4 for t in (*tensors, *op.outputs)):
        return None
    loop = lowered.loop
    if loop is not None and lowered.access.granule == loop.step and None not in lowered.access.inputs:
        access = dataclasses.replace(lowered.access, granule=1) if single_rows else lowered.access
        return RowOp(selection.op, lowered, access, tensors, op.outputs[0])
    if op.kind not in _ROW_BY_ROW:
        return None
    rows = context.output.shape[1]
    if any(graph.tensors[t].shape[1] not in (1, rows) for t in tensors):
        return None
    operands = [graph.tensors[t] for t in op.inputs if t >= 0 and t not in (*tensors, *_parameters(op))]
    if any(len(operand.shape) > 2 and operand.shape[-3] != 1 for operand in operands):
        return None  # a constant that differs from row to row
    row_graph = _one_row(graph, op)
    row_context = OpContext(row_graph, op)
    if kernel.refusals(row_context):
        return None
    maps = tuple(
        RowMap(rows, graph.tensors[t].size_bytes // rows)
        if graph.tensors[t].shape[1] == rows
        else RowMap(1, graph.tensors[t].size_bytes, mul=0)  # one row that every output row reads
        for t in tensors
    )
    access = AccessMap(rows, context.output.size_bytes // rows, maps)
    return RowOp(selection.op, kernel.lower(row_context), access, tensors, op.outputs[0])


def row_ops(graph: Graph, selections: Sequence[Selection], stage: Stage) -> list[RowOp]:
    """Return the operators of a streamed stage as it calls them."""
    calls = (row_op(graph, selections[op], single_rows=stage.single_rows) for op in stage.ops)
    return [call for call in calls if call is not None]


def _parameters(op: Op) -> tuple[int, ...]:
    """Weights and bias: constants that belong to every row."""
    return op.inputs[1:] if op.kind is OpKind.CONV_2D else ()


def _one_row(graph: Graph, op: Op) -> Graph:
    """The graph with this operator's activations one row high, as its kernel is to see them."""
    tensors = list(graph.tensors)
    for t in (*op.inputs, *op.outputs):
        if t >= 0 and t not in _parameters(op) and len(tensors[t].shape) == 4 and tensors[t].data is None:
            batch, _, *rest = tensors[t].shape
            tensors[t] = dataclasses.replace(tensors[t], shape=(batch, 1, *rest))
    return graph.replace(tensors=tuple(tensors))


_NOT_READ = -(2**62)
"""The distance from an input that is not read once the output is being written."""


@dataclass(frozen=True, slots=True)
class Event:
    """One kernel call of a stage: operator `index` of the stage computes output rows [row, end)."""

    index: int
    row: int
    end: int

    def rows_read(self, row_map: RowMap) -> range:
        """Return the input rows that the call reads."""
        return range(row_map.first(self.row), row_map.last(self.end - 1) + 1)


@dataclass(frozen=True, slots=True, eq=False)
class StreamStage:
    """Operators run together.

    Args:
        ops: in execution order; the last one's output is the stage's only output.
        ring_rows: rows kept of every inner tensor, by tensor index.
        reads: (operator of the stage, tensor) → the distance of that operator's reads alone.
    """

    ops: tuple[RowOp, ...]
    ring_rows: Mapping[int, int]
    reads: Mapping[tuple[int, int], int]

    @property
    def inner(self) -> frozenset[int]:
        """Tensors that live only inside the stage."""
        return frozenset(op.output for op in self.ops[:-1])

    @property
    def rings(self) -> tuple[tuple[int, int], ...]:
        """Every inner tensor with the bytes of its ring."""
        return tuple((op.output, self.ring_rows[op.output] * op.access.row_bytes) for op in self.ops[:-1])

    @property
    def scratch_bytes(self) -> int:
        """The most scratch any of its kernels needs; they run one after another."""
        return max(op.lowered.scratch_bytes for op in self.ops)

    def distance(self, tensor: int) -> int:
        """Bytes that the output must start below an input that dies in this stage, if both share memory.

        As AccessMap.overlap_distance, over the calls in the order in which they are made; every call
        may write before it has read.
        """
        return max((d for (_, source), d in self.reads.items() if source == tensor), default=_NOT_READ)

    def tail(self, first: int) -> StreamStage:
        """Return the stage of the operators from `first` on.

        Nothing is computed again: no operator asks those after it, so the calls of the tail come in the
        same order whether or not the operators before it belong to the stage.
        """
        return StreamStage(
            self.ops[first:],
            {op.output: self.ring_rows[op.output] for op in self.ops[first:-1]},
            {(i - first, tensor): d for (i, tensor), d in self.reads.items() if i >= first},
        )


def events(ops: Sequence[RowOp]) -> Iterator[Event]:
    """Yield the kernel calls of a stage in order.

    Generated code makes exactly these calls: `advance(i, end)` there is a function per operator.
    """
    producers = {op.output: i for i, op in enumerate(ops)}
    done = [0] * len(ops)
    wanted = [(len(ops) - 1, ops[-1].access.rows)]  # (operator, rows), each asked for by the one before
    while wanted:
        index, end = wanted[-1]
        if done[index] >= end:
            wanted.pop()
            continue
        access = ops[index].access
        event = Event(index, done[index], min(done[index] + access.granule, access.rows))
        for source, row_map in ops[index].reads():
            if source in producers and done[producers[source]] <= row_map.last(event.end - 1):
                wanted.append((producers[source], row_map.last(event.end - 1) + 1))
                break
        else:
            yield event
            done[index] = event.end


def stream_stage(ops: Sequence[RowOp]) -> StreamStage:
    """Size the rings of a stage.

    Row i of a ring of k rows is overwritten by row i + k, so k is the most, over all rows and all
    reads, of the rows that exist when row i is read, less i. It is a multiple of the rows of a call,
    which a kernel writes one behind the other.
    """
    producers = {op.output: i for i, op in enumerate(ops[:-1])}
    done = dict.fromkeys(producers, 0)
    rings = dict.fromkeys(producers, 1)
    reads: dict[tuple[int, int], int] = {}
    row_bytes = ops[-1].access.row_bytes
    written = 0  # output rows so far; a row counts from the start of its own call
    for event in events(ops):
        op = ops[event.index]
        if event.index == len(ops) - 1:
            written = event.end
        for source, row_map in op.reads():
            if not event.rows_read(row_map):
                continue
            first = row_map.first(event.row)
            key = event.index, source
            if written:
                reads[key] = max(reads.get(key, _NOT_READ), written * row_bytes - first * row_map.row_bytes)
            if source in producers:
                rings[source] = max(rings[source], done[source] - first)
        if op.output in done:
            done[op.output] = event.end
    for source, i in producers.items():
        step = ops[i].access.granule
        rings[source] = -(-rings[source] // step) * step
    return StreamStage(tuple(ops), rings, reads)
