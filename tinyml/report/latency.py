"""Estimated latency: an instruction model per kernel class times cycles per instruction of the core.

An estimate, and always marked so: it knows no cache, no flash wait states and no bus contention.
`tinyml run --profile` counts instructions exactly on an emulated board, and cycles on a real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyml.boards import Board
from tinyml.graph import Graph, OpKind
from tinyml.kernels.registry import Isa
from tinyml.select import Selection


@dataclass(frozen=True, slots=True)
class LatencyEstimate:
    """Estimated time of one inference. `basis` says what the estimate rests on."""

    cycles: int
    ms: float
    clock_hz: int
    basis: str


# Executed instructions per multiply-accumulate and per output byte, by operator and instruction set:
# tools/fit_latency.py fits them to `tinyml run --profile` on the emulated mps2-an386.
_CONVOLUTIONS = {
    (OpKind.CONV_2D, Isa.DSP): (1.1, 14.0),
    (OpKind.CONV_2D, Isa.C): (4.0, 30.0),
    (OpKind.DEPTHWISE_CONV_2D, Isa.DSP): (2.6, 16.0),
    (OpKind.DEPTHWISE_CONV_2D, Isa.C): (5.0, 30.0),
    (OpKind.FULLY_CONNECTED, Isa.DSP): (1.1, 16.0),
    (OpKind.FULLY_CONNECTED, Isa.C): (4.0, 30.0),
}
_PER_OUTPUT = {
    OpKind.ADD: 22.0,
    OpKind.MUL: 20.0,
    OpKind.AVERAGE_POOL_2D: 30.0,
    OpKind.MAX_POOL_2D: 20.0,
    OpKind.MEAN: 30.0,
    OpKind.SOFTMAX: 150.0,
    OpKind.QUANTIZE: 20.0,
    OpKind.DEQUANTIZE: 10.0,
}
_PER_OUTPUT_COPY = 4.0  # padding, transposes, resizing: bytes moved

# Cycles per executed instruction on zero-wait memory, relative to the instruction count of an M4.
# Armv6-M has no multiply-accumulate and no conditional blocks, so it also executes more of them.
_CYCLES_PER_INSTRUCTION = {
    "cortex-m0": 2.4,
    "cortex-m0plus": 2.1,
    "cortex-m3": 1.5,
    "cortex-m4": 1.4,
    "cortex-m7": 0.8,
    "cortex-m33": 1.3,
    "cortex-m55": 1.1,
}


def estimate_latency(graph: Graph, selections: Sequence[Selection], board: Board) -> LatencyEstimate | None:
    """Return the estimate, or None for a board without a clock (the host) or of an unknown core."""
    per_instruction = _CYCLES_PER_INSTRUCTION.get(board.core)
    if per_instruction is None or board.clock_hz is None:
        return None
    cycles = round(per_instruction * sum(_instructions(graph, selection) for selection in selections))
    return LatencyEstimate(
        cycles,
        1e3 * cycles / board.clock_hz,
        board.clock_hz,
        f"estimate: instructions per multiply-accumulate measured on an emulated M4, times "
        f"{per_instruction} cycles per instruction assumed for {board.core}; no wait states, no cache misses",
    )


def _instructions(graph: Graph, selection: Selection) -> float:
    if selection.kernel is None or selection.lowered is None:
        return 0.0
    op = graph.ops[selection.op]
    outputs = graph.tensors[op.outputs[0]].elements
    if (op.kind, selection.kernel.isa) in _CONVOLUTIONS:
        per_mac, per_output = _CONVOLUTIONS[op.kind, selection.kernel.isa]
        return per_mac * selection.lowered.macs + per_output * outputs
    return selection.lowered.macs + _PER_OUTPUT.get(op.kind, _PER_OUTPUT_COPY) * outputs
