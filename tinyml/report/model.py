"""The report: what a network costs on a board, before and after it is compiled.

`from_plan` knows everything but code and stack; `with_firmware` adds what only a compiled image
can tell. Both serialise to the same JSON keys, so a script reads `plan` and `build` alike; what is
not known yet is null.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyml import __version__
from tinyml.boards import Board
from tinyml.graph import Graph
from tinyml.planner.plan import Plan
from tinyml.report.latency import LatencyEstimate, estimate_latency
from tinyml.select import Selection


@dataclass(frozen=True, slots=True)
class SymbolSize:
    """A symbol of the firmware in flash.

    `kind` as toolchain.sizes tells it: "weights" (the model's constants), "model" (its code), "runtime"
    (the validation firmware) or "library" (libc).
    """

    name: str
    bytes: int
    kind: str


@dataclass(frozen=True, slots=True)
class FlashUse:
    """Bytes of flash. `code_bytes` is everything but the model's constants; null until compiled."""

    weights_bytes: int
    code_bytes: int | None = None
    total_bytes: int | None = None
    symbols: tuple[SymbolSize, ...] = ()


@dataclass(frozen=True, slots=True)
class RamUse:
    """Bytes of RAM. `static_bytes` is .data and .bss without the arena; null until compiled."""

    arena_bytes: int
    stack_bytes: int | None = None
    static_bytes: int | None = None

    @property
    def total_bytes(self) -> int:
        """All that is known: the arena, and stack and static data once compiled."""
        return self.arena_bytes + (self.stack_bytes or 0) + (self.static_bytes or 0)


@dataclass(frozen=True, slots=True)
class Fit:
    """Use of one memory against what the board offers; None where there is no limit (the host)."""

    used_bytes: int
    available_bytes: int | None

    @property
    def fits(self) -> bool:
        """True where the use is within the memory."""
        return self.available_bytes is None or self.used_bytes <= self.available_bytes


@dataclass(frozen=True, slots=True)
class BufferUse:
    """A byte range of the arena, live during the stages [first, last]."""

    name: str
    kind: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Peak:
    """The fullest moment: the stage, its first operator, and the buffers that are live then."""

    stage: int
    op: str
    name: str
    live: tuple[BufferUse, ...]


@dataclass(frozen=True, slots=True)
class LayerUse:
    """One operator. `kernel` is empty where the operator only renames bytes."""

    index: int
    name: str
    op: str
    kernel: str
    output_shape: tuple[int, ...]
    macs: int
    weights_bytes: int
    scratch_bytes: int


@dataclass(frozen=True, slots=True)
class Folded:
    """Output channels of layers, and multiply-accumulates, that the file has and the firmware does not."""

    channels: int
    macs: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice of stages that no other one beats in everything; `extra_macs` as a ratio of all.

    Instructions and code are estimates, and count beyond those of running one operator at a time.
    """

    peak_bytes: int
    extra_macs: float
    extra_instructions: int
    extra_code: int


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What the network costs on the board. Sizes in bytes, `extra_macs` as a ratio of `macs`.

    `divisions` are the (strips, bands) that each stage computes its output in, one after another.
    `macs` are executed; `folded` says what of the file's work is not.
    """

    model: str
    sha256: str
    board: str
    arena_bytes: int
    input_bytes: int
    output_bytes: int
    lower_bound_bytes: int
    macs: int
    extra_macs: float
    folded: Folded
    peak: Peak | None
    flash: FlashUse
    ram: RamUse
    sram_fit: Fit
    flash_fit: Fit
    latency_estimate: LatencyEstimate | None
    layers: tuple[LayerUse, ...]
    stages: tuple[tuple[int, ...], ...]
    divisions: tuple[tuple[int, int], ...]
    buffers: tuple[BufferUse, ...]
    front: tuple[Choice, ...] = ()
    toolchain: str = ""
    files: tuple[str, ...] = ()
    tuning: tuple[Mapping[str, Any], ...] | None = None  # the JSON of tune.Tuned; None where not tuned

    @property
    def fits(self) -> bool:
        """True where both memories are large enough."""
        return self.sram_fit.fits and self.flash_fit.fits

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values; `report.json` and `--json` are exactly this."""
        return {
            "tinyml": __version__,
            "model": self.model,
            "sha256": self.sha256,
            "board": self.board,
            "toolchain": self.toolchain or None,
            "arena_bytes": self.arena_bytes,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
            "lower_bound_bytes": self.lower_bound_bytes,
            "macs": self.macs,
            "extra_macs": self.extra_macs,
            "folded": dataclasses.asdict(self.folded),
            "stack_bytes": self.ram.stack_bytes,
            "flash": dataclasses.asdict(self.flash),
            "ram": dataclasses.asdict(self.ram) | {"total_bytes": self.ram.total_bytes},
            "fits": {"sram": _fit_json(self.sram_fit), "flash": _fit_json(self.flash_fit)},
            "peak": dataclasses.asdict(self.peak) if self.peak else None,
            "latency_estimate": dataclasses.asdict(self.latency_estimate) if self.latency_estimate else None,
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "stages": [list(stage) for stage in self.stages],
            "divisions": [list(division) for division in self.divisions],
            "buffers": [dataclasses.asdict(buffer) for buffer in self.buffers],
            "front": [dataclasses.asdict(choice) for choice in self.front],
            "files": list(self.files),
            "tuning": None if self.tuning is None else list(self.tuning),
        }


def from_plan(
    graph: Graph, selections: Sequence[Selection], plan: Plan, board: Board, constant_bytes: int
) -> BuildReport:
    """Report a plan that has not been compiled: code, stack and static data are unknown.

    Args:
        graph: the planned graph.
        selections: one per operator.
        plan: the memory plan.
        board: the board it is planned for.
        constant_bytes: all constants that the generated code holds.
    """
    buffers = tuple(
        BufferUse(b.name, b.kind.value, b.offset, b.size_bytes, b.first, b.last) for b in plan.buffers
    )
    layers = tuple(
        _layer(graph, selections[i], i) for stage in plan.stages for i in stage.ops if i < len(selections)
    )
    peak = None
    if plan.stages:
        op = graph.ops[plan.stages[plan.peak_stage].ops[0]]
        peak = Peak(
            stage=plan.peak_stage,
            op=op.title,
            name=graph.tensors[op.outputs[0]].name,
            live=tuple(b for b in buffers if b.first <= plan.peak_stage <= b.last),
        )
    return BuildReport(
        model=graph.name,
        sha256=graph.sha256,
        board=board.id,
        arena_bytes=plan.arena_bytes,
        input_bytes=sum(graph.tensors[t].size_bytes for t in graph.inputs),
        output_bytes=sum(graph.tensors[t].size_bytes for t in graph.outputs),
        lower_bound_bytes=plan.lower_bound_bytes,
        macs=plan.macs,
        extra_macs=plan.extra_macs / max(plan.macs, 1),
        front=tuple(
            Choice(c.peak_bytes, c.extra_macs / max(plan.macs, 1), c.extra_instructions, c.extra_code)
            for c in plan.front
        ),
        folded=Folded(graph.folded_channels, graph.folded_macs),
        peak=peak,
        flash=FlashUse(constant_bytes),
        ram=RamUse(plan.arena_bytes),
        sram_fit=Fit(plan.arena_bytes, board.sram_bytes),
        flash_fit=Fit(constant_bytes, board.flash_bytes),
        latency_estimate=estimate_latency(graph, selections, board),
        layers=layers,
        stages=tuple(stage.ops for stage in plan.stages),
        divisions=tuple((stage.strips, stage.bands) for stage in plan.stages),
        buffers=buffers,
    )


def with_firmware(
    report: BuildReport,
    board: Board,
    symbols: Iterable[SymbolSize],
    *,
    weights_bytes: int,
    total_flash_bytes: int,
    static_bytes: int,
    stack_bytes: int | None,
    toolchain: str,
    files: Iterable[Path] = (),
) -> BuildReport:
    """Add what the compiled image tells.

    Args:
        report: the plan's report, whose SRAM fit is the arena against RAM less the board's reserves.
        board: the board; now arena, stack and static data are held against all of its RAM.
        symbols: flash symbols.
        weights_bytes: flash of the model's constants.
        total_flash_bytes: bytes of the image, vectors, padding and initial values included.
        static_bytes: .data and .bss without the arena.
        stack_bytes: bound of the stack that one inference needs; None where it is unknown.
        toolchain: what compiled it.
        files: files written, relative to the project's folder.
    """
    ordered = tuple(sorted(symbols, key=lambda symbol: (-symbol.bytes, symbol.name)))
    ram = RamUse(report.arena_bytes, stack_bytes, static_bytes)
    return dataclasses.replace(
        report,
        flash=FlashUse(weights_bytes, total_flash_bytes - weights_bytes, total_flash_bytes, ordered),
        ram=ram,
        sram_fit=Fit(ram.total_bytes, board.ram.size_bytes if board.ram else None),
        flash_fit=dataclasses.replace(report.flash_fit, used_bytes=total_flash_bytes),
        toolchain=toolchain,
        files=tuple(str(path) for path in files),
    )


def _layer(graph: Graph, selection: Selection, index: int) -> LayerUse:
    op, lowered = graph.ops[index], selection.lowered
    output = graph.tensors[op.outputs[0]]
    return LayerUse(
        index=index,
        name=output.name,
        op=op.title,
        kernel=selection.kernel.symbol if selection.kernel else "loop" if selection.body else "",
        output_shape=output.shape,
        macs=lowered.macs if lowered else 0,
        weights_bytes=sum(constant.values.nbytes for constant in lowered.constants) if lowered else 0,
        scratch_bytes=lowered.scratch_bytes if lowered else 0,
    )


def _fit_json(fit: Fit) -> dict[str, Any]:
    return {"used": fit.used_bytes, "available": fit.available_bytes, "fits": fit.fits}
