"""Where the row of zero points lies that a kernel reads for rows outside its image.

As a rule in flash, once per zero point. A long row lies in the arena instead, where the placement leaves
room: in bytes that nobody has while the operator runs, or, if only rows below the image are read, on a row
of the input that has been read for the last time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinyml.graph import Graph
from tinyml.kernels.registry import Lowered, OpContext
from tinyml.planner.plan import Fill, Plan

if TYPE_CHECKING:
    from tinyml.select import Selection

SHORT = 256
"""Bytes of a row up to which flash is cheaper than to fill it again for every operator."""


def find_fills(graph: Graph, selections: Sequence[Selection], plan: Plan) -> tuple[Fill, ...]:
    """Return the rows of zero points that find room in a plan's arena."""
    found = []
    for index, stage in enumerate(plan.stages):
        lowered = selections[stage.ops[0]].lowered
        if not stage.streamed and lowered is not None:
            found.append(_place(graph, plan, index, lowered))
    return tuple(fill for fill in found if fill is not None)


def _place(graph: Graph, plan: Plan, index: int, lowered: Lowered) -> Fill | None:
    """Return where the row lies for an operator that runs alone, or None where in flash (or nowhere)."""
    loop = lowered.loop
    if loop is None or loop.pad_value is None or not loop.reads_outside or loop.in_row_bytes <= SHORT:
        return None
    size = loop.in_row_bytes
    live = [buffer for buffer in plan.buffers if buffer.first <= index <= buffer.last]
    taken = [(buffer.offset, buffer.offset + buffer.size_bytes) for buffer in live]
    for start in sorted({0, *(-(-end // 4) * 4 for _, end in taken)}):
        if start + size <= plan.arena_bytes and _free(start, size, taken):
            return Fill(index, start, loop.pad_value, size)
    stage = plan.stages[index]
    if lowered.batches > 1 or stage.bottom_up or loop.pad_top > 0:
        return None
    context = OpContext(graph, graph.ops[stage.ops[0]])
    tensor = context.activation_inputs[0]
    source, output = (plan.buffer_of(t) for t in (tensor, context.op.outputs[0]))
    if source.last > index or source is output or set(source.tensors) & set(graph.results):
        return None
    base = plan.offset_of(tensor)
    others = [(b.offset, b.offset + b.size_bytes) for b in live if b is not source]
    for r in range(0, loop.out_rows, loop.step):
        first = r * loop.stride_h - loop.pad_top  # the first row that this call, or any behind it, reads
        if first + (loop.pointers - 1) * loop.dilation_h < loop.in_rows:
            continue
        for row in range(min(first, loop.in_rows) - 1, -1, -1):
            if _free(base + row * size, size, others):
                return Fill(index, base + row * size, loop.pad_value, size, r)
        break
    return None


def _free(start: int, size: int, taken: list[tuple[int, int]]) -> bool:
    return all(end <= start or start + size <= begin for begin, end in taken)
