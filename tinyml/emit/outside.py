"""Where the row of zero points lies that a kernel reads for rows outside its image.

As a rule in flash, once per zero point. A long row lies in the arena instead, where the plan leaves room: in
bytes that nobody has while the operator runs, or, if only rows below the image are read, on a row of the
input that has been read for the last time.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyml.graph import Graph
from tinyml.kernels.registry import OpContext, RowLoop
from tinyml.planner.plan import Plan

SHORT = 256
"""Bytes of a row up to which flash is cheaper than to fill it again for every operator."""


@dataclass(frozen=True, slots=True)
class Outside:
    """A row in the arena.

    Args:
        offset: of its first byte.
        value: what it is filled with.
        size_bytes: of the row.
        fill_at: the first output row of the call before which it is filled; None before all of them.
    """

    offset: int
    value: int
    size_bytes: int
    fill_at: int | None


def place_outside(
    graph: Graph, plan: Plan, stage_index: int, loop: RowLoop | None, *, on_input: bool
) -> Outside | None:
    """Return where the row lies for an operator that runs alone, or None where in flash (or nowhere).

    Args:
        graph: the network.
        plan: its plan.
        stage_index: the operator's stage.
        loop: the operator's loop over rows.
        on_input: whether it may lie on the input.
    """
    if loop is None or loop.pad_value is None or not loop.reads_outside or loop.in_row_bytes <= SHORT:
        return None
    size = loop.in_row_bytes
    taken = [
        (buffer.offset, buffer.offset + buffer.size_bytes)
        for buffer in plan.buffers
        if buffer.first <= stage_index <= buffer.last
    ]
    for start in sorted({0, *(-(-end // 4) * 4 for _, end in taken)}):
        if start + size <= plan.arena_bytes and _free(start, size, taken):
            return Outside(start, loop.pad_value, size, None)
    stage = plan.stages[stage_index]
    if not on_input or stage.bottom_up or loop.pad_top > 0:
        return None
    context = OpContext(graph, graph.ops[stage.ops[0]])
    tensor = context.activation_inputs[0]
    source, output = (plan.buffer_of(t) for t in (tensor, context.op.outputs[0]))
    if source.last > stage_index or source is output or set(source.tensors) & set(graph.results):
        return None
    base = plan.offset_of(tensor)
    others = [
        (buffer.offset, buffer.offset + buffer.size_bytes)
        for buffer in plan.buffers
        if buffer.first <= stage_index <= buffer.last and buffer is not source
    ]
    for r in range(0, loop.out_rows, loop.step):
        first = r * loop.stride_h - loop.pad_top  # the first row that this call, or any behind it, reads
        if first + (loop.pointers - 1) * loop.dilation_h < loop.in_rows:
            continue
        for row in range(min(first, loop.in_rows) - 1, -1, -1):
            if _free(base + row * size, size, others):
                return Outside(base + row * size, loop.pad_value, size, r)
        break
    return None


def _free(start: int, size: int, taken: list[tuple[int, int]]) -> bool:
    return all(end <= start or start + size <= begin for begin, end in taken)
