"""Streamed stages → plain values: one C function per operator, which asks its producers for rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinyml.access import AccessMap, RowMap
from tinyml.graph import Graph
from tinyml.kernels.registry import OpContext, RowLoop
from tinyml.planner.plan import Plan
from tinyml.planner.stream import RowOp, ring_slots, row_ops
from tinyml.select import Selection


@dataclass(frozen=True, slots=True)
class StreamInput:
    """An input of a streamed operator: a whole tensor, or a ring of `slots` rows."""

    name: str
    offset: int
    row_bytes: int
    slots: int | None
    row: str  # C expression of the row that a kernel without row pointers reads
    producer: int | None  # operator of this stage that computes it
    need: str  # C expression: rows of the producer that must exist


@dataclass(frozen=True, slots=True)
class StreamOpContext:
    """One operator of a streamed stage."""

    index: int
    kernel: str
    summary: str
    inputs: tuple[StreamInput, ...]
    offset: int
    row_bytes: int
    rows: int
    step: int  # rows per call
    slots: int | None
    loop: RowLoop | None
    pad_row: str | None
    constants: tuple[str, ...]
    scratch: int | None
    literals: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class StreamContext:
    """A streamed stage; the last operator drives it."""

    name: str
    ops: tuple[StreamOpContext, ...]


def stream_context(
    graph: Graph,
    selections: Sequence[Selection],
    plan: Plan,
    stage: int,
    constants: Callable[[RowOp], tuple[str, ...]],
    pad_row: Callable[[RowLoop], str | None],
    summary: Callable[[OpContext], str],
) -> StreamContext:
    """Turn a streamed stage into template values.

    Args:
        graph: the planned graph.
        selections: one per operator.
        plan: the memory plan.
        stage: index of a stage of several operators.
        constants: gives the C symbols of an operator's constants.
        pad_row: gives the C expression that stands for rows outside an image, None where none is needed.
        summary: describes an operator.
    """
    calls = row_ops(graph, selections, plan.stages[stage])
    producers = {call.output: call for call in calls[:-1]}
    scratch = plan.scratch_of(stage)

    def slots(tensor: int) -> int | None:
        if tensor not in producers:
            return None
        return ring_slots(plan.buffer_of(tensor).size_bytes, producers[tensor])

    def inputs(call: RowOp) -> tuple[StreamInput, ...]:
        names = ["x"] if len(call.inputs) == 1 else [f"x{i}" for i in range(len(call.inputs))]
        return tuple(
            StreamInput(
                name=name,
                offset=plan.buffer_of(tensor).offset,
                row_bytes=row_map.row_bytes,
                slots=slots(tensor),
                row="r" if row_map.mul else "0",
                producer=producers[tensor].op if tensor in producers else None,
                need=_need(row_map, call.access),
            )
            for name, (tensor, row_map) in zip(names, call.reads(), strict=True)
        )

    kernels = {op: selections[op].kernel for op in plan.stages[stage].ops}
    contexts = []
    for call in calls:
        kernel = kernels[call.op]
        assert kernel is not None
        contexts.append(
            StreamOpContext(
                index=call.op,
                kernel=kernel.symbol,
                summary=summary(OpContext(graph, graph.ops[call.op])),
                inputs=inputs(call),
                offset=plan.buffer_of(call.output).offset,
                row_bytes=call.access.row_bytes,
                rows=call.access.rows,
                step=call.access.granule,
                slots=slots(call.output),
                loop=call.lowered.loop,
                pad_row=pad_row(call.lowered.loop) if call.lowered.loop is not None else None,
                constants=constants(call),
                scratch=scratch.offset if scratch and call.lowered.scratch_bytes else None,
                literals=call.lowered.literals,
            )
        )
    return StreamContext(f"stream_{calls[-1].op}", tuple(contexts))


def _need(row_map: RowMap, access: AccessMap) -> str:
    """Return min(last row that a call reads + 1, rows of the input) as C; it computes row r, or r to last."""
    if row_map.mul == 0:
        return str(row_map.last(0) + 1)
    row = "r" if access.granule == 1 else "last"
    text = row if row_map.mul == 1 else f"{row} * {row_map.mul}"
    more = row_map.hi + 1
    if more:
        text += f" + {more}" if more > 0 else f" - {-more}"
    if row_map.mul * (access.rows - 1) + more <= row_map.rows:
        return text
    return f"tm_min({text}, {row_map.rows})"
