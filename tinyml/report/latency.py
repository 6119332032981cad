"""Estimated latency: cycles per unit of work of each kernel on each core, fitted to priced profiles.

An estimate, and always marked so. The figures are in latency.json, made by tools/fit_latency.py: networks
were profiled in an emulator, every executed instruction was priced with the core's published timings
(tinyml/run/cycles.py), and each kernel's layers were fitted. Zero wait states, no cache misses, no
bus contention: `calibration` in latency.json says how far that has been from silicon.
`tinyml run --profile` prices what really runs, and counts cycles on a real board.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyml.boards import Board
from tinyml.graph import Graph, LoopAttrs
from tinyml.select import Selection

PATH = Path(__file__).with_name("latency.json")
TABLE: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))

# A kernel that has not been measured, of an operator of which none has: assumed.
_OTHER = {"instructions": [0.0, 8.0, 0.0], "cycles": [0.0, 12.0, 0.0]}


@dataclass(frozen=True, slots=True)
class LatencyEstimate:
    """Estimated time of one inference.

    Args:
        cycles: estimated; `ms` is the same at the board's clock.
        cycles_low: less the largest error of the fit on a network it has not seen.
        cycles_high: more the same, times the largest ratio of silicon to such prices that is known.
        instructions: estimated executed instructions.
        clock_hz: the board's clock.
        basis: what the estimate rests on, a sentence.
    """

    cycles: int
    ms: float
    cycles_low: int
    cycles_high: int
    instructions: int
    clock_hz: int
    basis: str


def estimate_latency(graph: Graph, selections: Sequence[Selection], board: Board) -> LatencyEstimate | None:
    """Return the estimate, or None for a board without a clock (the host) or of a core without prices."""
    core = TABLE["cores"].get(board.core)
    if core is None or not core["unseen"] or board.clock_hz is None:
        return None
    cycles = round(sum(_amount(graph, s, core["kernels"], "cycles") for s in selections))
    instructions = round(sum(_amount(graph, s, core["kernels"], "instructions") for s in selections))
    unseen = max((abs(error) for error in core["unseen"].values()), default=0.0)
    high = TABLE["calibration"]["ratio_high"]
    return LatencyEstimate(
        cycles=cycles,
        ms=1e3 * cycles / board.clock_hz,
        cycles_low=round(cycles * (1 - unseen)),
        cycles_high=round(cycles * (1 + unseen) * high),
        instructions=instructions,
        clock_hz=board.clock_hz,
        basis=f"estimate: cycles per unit of work of each kernel, from profiles priced with published "
        f"timings of {board.core}, up to {unseen:.0%} off on networks the fit has not seen; no wait states "
        f"and no cache misses. Cortex-M4 boards took {TABLE['calibration']['ratio_low']} to {high} times "
        f"such a price of like software",
    )


def work(graph: Graph, selection: Selection) -> int:
    """Units of work of an operator: multiply-accumulates, or where it has none the elements it reads."""
    if selection.lowered and selection.lowered.macs:
        return selection.lowered.macs
    return sum(graph.tensors[t].elements for t in graph.activations(graph.ops[selection.op]))


def coefficients(
    kernels: Mapping[str, Mapping[str, Any]], kernel: str, operator: str, isa: str
) -> Mapping[str, Any]:
    """Return the fitted costs of a kernel; where it has none, of its operator's others; else assumed ones."""
    return kernels.get(kernel) or kernels.get(f"{operator} {isa}") or kernels.get(f"{operator} c") or _OTHER


def _amount(graph: Graph, selection: Selection, kernels: Mapping[str, Any], what: str) -> float:
    attrs = graph.ops[selection.op].attrs
    if isinstance(attrs, LoopAttrs):
        return attrs.steps * sum(_amount(attrs.body, inner, kernels, what) for inner in selection.body)
    if selection.kernel is None:
        return 0.0
    op, kernel = graph.ops[selection.op], selection.kernel
    costs = coefficients(kernels, kernel.symbol, op.kind.value, kernel.isa.value)[what]
    amounts = (work(graph, selection), graph.tensors[op.outputs[0]].elements, 1)
    return float(sum(cost * amount for cost, amount in zip(costs, amounts, strict=True)))
