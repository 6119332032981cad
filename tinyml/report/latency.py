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


# Executed instructions per unit of work and per output element, by operator and instruction set. Fitted
# by tools/fit_latency.py to the layers of seven networks, counted on the emulated mps2-an386, and of six of
# them for Helium on mps3-an547.
_INSTRUCTIONS = {
    (OpKind.CONV_2D, Isa.MVE): (0.13, 1.9),
    (OpKind.DEPTHWISE_CONV_2D, Isa.MVE): (0.0, 7.0),
    (OpKind.FULLY_CONNECTED, Isa.MVE): (0.17, 14.9),
    (OpKind.ADD, Isa.MVE): (0.0, 4.0),
    (OpKind.AVERAGE_POOL_2D, Isa.MVE): (0.69, 3.7),
    (OpKind.MAX_POOL_2D, Isa.MVE): (0.0, 1.8),
    (OpKind.CONV_2D, Isa.DSP): (0.89, 6.3),
    (OpKind.CONV_2D, Isa.C): (3.12, 39.6),
    (OpKind.DEPTHWISE_CONV_2D, Isa.DSP): (3.56, 0.0),
    (OpKind.DEPTHWISE_CONV_2D, Isa.C): (9.79, 0.0),
    (OpKind.FULLY_CONNECTED, Isa.DSP): (1.47, 13.9),
    (OpKind.FULLY_CONNECTED, Isa.C): (4.17, 19.8),
    (OpKind.ADD, Isa.C): (0.0, 44.8),
    (OpKind.AVERAGE_POOL_2D, Isa.C): (6.13, 0.0),
    (OpKind.MAX_POOL_2D, Isa.C): (0.0, 20.5),
    (OpKind.MEAN, Isa.C): (6.75, 133.5),
    (OpKind.SOFTMAX, Isa.C): (0.0, 208.5),
}
_OTHER = (0.0, 8.0)  # padding, transposes, resizing, conversions: little but moved bytes
_READ_ALL = (OpKind.AVERAGE_POOL_2D, OpKind.MAX_POOL_2D, OpKind.MEAN)

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
        f"estimate: instructions per multiply-accumulate counted in an emulator, times "
        f"{per_instruction} cycles per instruction assumed for {board.core}; no wait states, no cache misses",
    )


def work(graph: Graph, selection: Selection) -> int:
    """Units of work of an operator: multiply-accumulates, or for reductions the elements they read."""
    op = graph.ops[selection.op]
    if op.kind in _READ_ALL:
        return graph.tensors[op.inputs[0]].elements
    return selection.lowered.macs if selection.lowered else 0


def _instructions(graph: Graph, selection: Selection) -> float:
    if selection.kernel is None:
        return 0.0
    op = graph.ops[selection.op]
    per_work, per_output = _INSTRUCTIONS.get((op.kind, selection.kernel.isa), _OTHER)
    return per_work * work(graph, selection) + per_output * graph.tensors[op.outputs[0]].elements
