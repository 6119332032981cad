"""What streaming costs: instructions and bytes of code beyond running the operators one by one, estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinyml.graph import Graph, OpKind
from tinyml.planner.plan import Cost
from tinyml.planner.stream import RowOp

if TYPE_CHECKING:
    from tinyml.select import Selection

CODE = 260
"""Bytes of code that a streamed operator adds, roughly: its own function."""

_CALL = 15
_MAC = {OpKind.DEPTHWISE_CONV_2D: 3.0}
_OTHER_MAC = 1.0
_SINGLE_ROW_MAC = 2.3
_LAYER_MAC = {OpKind.DEPTHWISE_CONV_2D: 2.4}
_MOST_PER_MAC = 1.5
_TILED_MAC = 0.3  # a 3x3 depthwise convolution in tiles of a row
_SMALL_BLOCK_MAC = 0.25  # a convolution of two pixels at a time


def streamed(op: RowOp, call: RowOp, strips: int, again: int) -> float:
    """Estimate what streaming an operator adds: `op` is its call on whole rows, `call` on a strip's."""
    kind = op.context.op.kind if op.context is not None else None
    calls = strips * -(-call.access.rows // call.access.granule)
    more = calls * _CALL + again * (_MAC.get(kind, _OTHER_MAC) if kind is not None else 0)
    if takes_several_rows(op) and call.access.granule == 1:
        more += strips * call.macs * _SINGLE_ROW_MAC
    return more


def less_scratch(call: RowOp, strips: int) -> float:
    """Estimate the instructions that a kernel takes more with less scratch."""
    rate = _TILED_MAC if takes_several_rows(call) else _SMALL_BLOCK_MAC
    return strips * call.macs * rate


def takes_several_rows(op: RowOp) -> bool:
    """Whether the kernel can compute several rows per call."""
    return op.lowered is not None and op.lowered.loop is not None and op.lowered.loop.step > 1


def layer_instructions(graph: Graph, selections: Sequence[Selection]) -> float:
    """Estimate the instructions of running the operators one by one."""
    return sum(
        _LAYER_MAC.get(graph.ops[s.op].kind, _OTHER_MAC) * s.lowered.macs for s in selections if s.lowered
    )


def streaming_instructions(cost: Cost) -> float:
    """Estimate the instructions that a choice of stages adds, but for what is computed a second time."""
    return cost.extra_instructions - _MOST_PER_MAC * cost.extra_macs
