"""What streaming costs: instructions and bytes of code beyond running the operators one by one, estimated.

A call's work is counted here, by what makes it cost more than its share of the whole layer; the instructions
per piece of work are fitted to counted ones (`tools/fit_streaming.py`, streaming.json). They are those of the
DSP kernels on a Cortex-M4: other kernels differ, but less than one choice of stages does from another.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyml.graph import Graph, OpKind
from tinyml.planner.plan import Cost
from tinyml.planner.stream import RowOp

if TYPE_CHECKING:
    from tinyml.select import Selection

PATH = Path(__file__).with_name("streaming.json")
TABLE: Mapping[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
RATES: Mapping[str, float] = TABLE["rates"]
"""Instructions per piece of work."""

CODE = 260
"""Bytes of code that a streamed operator adds, roughly: its own function."""


def streamed_work(op: RowOp, call: RowOp, strips: int, again: int) -> Counter[str]:
    """Return the work that streaming an operator adds.

    Args:
        op: its call on whole rows.
        call: as the stage makes it.
        strips: how often the stage makes it for every row.
        again: multiply-accumulates computed a second time.
    """
    work = Counter({"calls": strips * -(-call.access.rows // call.access.granule)})
    depthwise = _kind(call) is OpKind.DEPTHWISE_CONV_2D
    if again:
        work["depthwise macs again" if depthwise else "other macs again"] = again
    if takes_several_rows(op) and call.access.granule == 1:
        assert call.lowered is not None
        assert call.lowered.loop is not None
        stride = "stride 1" if call.lowered.loop.stride_h == 1 else "stride 2"
        work[f"single-row macs, {stride}"] = strips * call.macs
        if call.context is not None:
            work["single-row channels"] = strips * call.access.rows * call.context.output.shape[-1]
    return work


def less_scratch_work(call: RowOp, strips: int) -> Counter[str]:
    """Return the work that costs more with less scratch."""
    name = "small-block macs"
    if takes_several_rows(call):  # of a single row, tiles share less
        name = "tiled macs" if call.access.granule > 1 else "tiled single-row macs"
    return Counter({name: strips * call.macs})


def layer_work(graph: Graph, selection: Selection) -> Counter[str]:
    """Return the work of an operator that runs alone."""
    op, lowered = graph.ops[selection.op], selection.lowered
    if lowered is None:
        return Counter()
    depthwise = op.kind is OpKind.DEPTHWISE_CONV_2D
    return Counter(
        {
            "depthwise macs": lowered.macs if depthwise else 0,
            "other macs": 0 if depthwise else lowered.macs,
            "outputs": graph.tensors[op.outputs[0]].elements,
        }
    )


def instructions(work: Mapping[str, int]) -> float:
    """Estimate the instructions of some work."""
    return sum(RATES[name] * amount for name, amount in work.items())


def within(
    costs: Sequence[Cost], graph: Graph, selections: Sequence[Selection], slowdown: float
) -> list[bool]:
    """Return which choices of stages take at most so many more instructions per multiply-accumulate.

    Args:
        costs: of the choices.
        graph: the network.
        selections: one per operator.
        slowdown: as a share of the instructions that the operators take one by one.
    """
    alone = instructions(sum((layer_work(graph, s) for s in selections), Counter()))
    macs = sum(s.lowered.macs for s in selections if s.lowered) or 1
    return [
        alone + cost.extra_instructions <= (1 + slowdown) * alone * (1 + cost.extra_macs / macs)
        for cost in costs
    ]


def takes_several_rows(op: RowOp) -> bool:
    """Whether the kernel can compute several rows per call."""
    return op.lowered is not None and op.lowered.loop is not None and op.lowered.loop.step > 1


def _kind(call: RowOp) -> OpKind | None:
    return call.context.op.kind if call.context is not None else None
