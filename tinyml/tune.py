"""Tuning: which of the kernels that accept an operator runs it with the fewest cycles, measured.

The registry's order is the choice of whoever wrote the kernels. Here the model's own layers decide: it is
built once per round with another kernel for every operator that has one left, runs on the emulated core,
and every operator keeps the kernel whose executed instructions are priced lowest (tinyml/run/cycles.py).
Layers run one at a time while they are measured; streamed, a kernel is called with fewer rows at once.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyml import boards, passes
from tinyml.boards import Board
from tinyml.build import (
    Compiled,
    Planning,
    Toolchain,
    check_fit,
    compile_model,
    emulated_firmware,
    instruction_sets,
    open_target,
)
from tinyml.errors import DoesNotFit, TargetError
from tinyml.graph import DType
from tinyml.kernels.registry import Kernel
from tinyml.readers import read_model
from tinyml.run.profile import Cost, profile
from tinyml.select import Choice, accepting


@dataclass(frozen=True, slots=True)
class Measurement:
    """One kernel on one operator. `cycles` are estimated; None for a core without a cycle model."""

    kernel: str
    instructions: int
    cycles: int | None
    scratch_bytes: int

    @property
    def cost(self) -> int:
        """What is compared."""
        return self.instructions if self.cycles is None else self.cycles


@dataclass(frozen=True, slots=True)
class Tuned:
    """An operator with several kernels: what each took, in the registry's order, and which is kept."""

    op: int
    operator: str
    name: str
    kept: str
    measured: tuple[Measurement, ...]

    @property
    def saved(self) -> int:
        """Cycles (instructions where those are unknown) less than the registry's first choice."""
        (kept,) = (m for m in self.measured if m.kernel == self.kept)
        return self.measured[0].cost - kept.cost

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "op": self.op,
            "operator": self.operator,
            "name": self.name,
            "kernel": self.kept,
            "first_choice": self.measured[0].kernel,
            "saved": self.saved,
            "measured": [
                {
                    "kernel": m.kernel,
                    "instructions": m.instructions,
                    "estimated_cycles": m.cycles,
                    "scratch_bytes": m.scratch_bytes,
                }
                for m in self.measured
            ],
        }


def tune(
    path: Path,
    board: Board,
    planning: Planning | None = None,
    *,
    toolchain: Toolchain = "gcc",
    progress: Callable[[str], None] | None = None,
) -> tuple[Compiled, tuple[Tuned, ...]]:
    """Plan a model with the kernels that are fastest on its own layers.

    Args:
        path: a .tflite file.
        board: a board with an emulator or an emulated twin.
        planning: as for compile_model().
        toolchain: as for build().
        progress: told one line per round.

    Returns:
        The planned model, and every operator that had a choice. Where the fastest kernels need
        more memory than the board has, those that need more scratch than the first choice are left out.

    Raises:
        TargetError: the board's core is not emulated.
        DoesNotFit: the model does not fit the emulated machine.
    """
    planning = planning or Planning()
    machine = boards.load(board.twin) if board.twin else board
    if machine.emulator is None:
        raise TargetError(f"{board.id} has no emulator to measure kernels on", hint="build without --tune")
    graph = passes.run(read_model(path), edges=planning.edges)
    isas = instruction_sets(board)
    kernels = {i: found for i, op in enumerate(graph.ops) if (found := accepting(graph, op, isas))}
    measured: dict[int, list[Measurement]] = {i: [] for i in kernels}
    rounds = max((len(found) for found in kernels.values()), default=0)
    for turn in range(rounds):
        if progress:
            progress(f"round {turn + 1} of {rounds}")
        tried = {i: found[turn] for i, found in kernels.items() if turn < len(found)}
        compiled, costs = _measure(path, board, machine, planning, tried, toolchain)
        for i, kernel in tried.items():
            lowered = compiled.selections[i].lowered
            assert lowered is not None
            cost = costs[i]
            measured[i].append(
                Measurement(kernel.symbol, cost.instructions, cost.cycles, lowered.scratch_bytes)
            )
    frugal = False
    while True:
        tuned = tuple(
            _keep(graph.ops[i].kind.value, _name(compiled, i), i, m, frugal)
            for i, m in measured.items()
            if len(m) > 1
        )
        by_symbol = {kernel.symbol: kernel for found in kernels.values() for kernel in found}
        choices = {t.op: Choice(by_symbol[t.kept], _reason(t)) for t in tuned}
        planned = compile_model(path, board, planning, choices=choices)
        try:
            check_fit(planned)
        except DoesNotFit:
            if frugal:
                raise
            frugal = True
            continue
        return dataclasses.replace(planned, tuning=tuple(t.to_json() for t in tuned)), tuned


def _measure(
    path: Path,
    board: Board,
    machine: Board,
    planning: Planning,
    tried: Mapping[int, Kernel],
    toolchain: Toolchain,
) -> tuple[Compiled, dict[int, Cost]]:
    """Run the model with these kernels, layer by layer; return what each operator cost."""
    choices = {i: Choice(kernel, "measured") for i, kernel in tried.items()}
    by_layer = Planning(edges=planning.edges, schedule="layer")
    compiled = compile_model(path, machine, by_layer, isa=instruction_sets(board), choices=choices)
    graph = compiled.graph
    rng = np.random.default_rng(0)
    inputs = [
        rng.integers(-128, 128, tensor.shape).astype(np.int8)
        if tensor.dtype is DType.INT8
        else rng.uniform(-1, 1, tensor.shape).astype(tensor.dtype.value)
        for tensor in (graph.tensors[i] for i in graph.inputs)
    ]
    with tempfile.TemporaryDirectory(prefix="tinyml-tune-") as name:
        open_target(compiled, Path(name), toolchain=toolchain)
        elf = emulated_firmware(Path(name), machine)
        counted = profile(elf, machine, graph.name, inputs, priced_as=board)
    order = [i for stage in compiled.plan.stages for i in stage.ops if compiled.selections[i].kernel]
    return compiled, {i: layer.cost for i, layer in zip(order, counted.layers, strict=True)}


def _name(compiled: Compiled, op: int) -> str:
    return compiled.graph.tensors[compiled.graph.ops[op].outputs[0]].name


def _keep(operator: str, name: str, op: int, measured: list[Measurement], frugal: bool) -> Tuned:
    """Keep the fastest; the registry's order decides between equals."""
    allowed = [m for m in measured if not frugal or m.scratch_bytes <= measured[0].scratch_bytes]
    return Tuned(op, operator, name, min(allowed, key=lambda m: m.cost).kernel, tuple(measured))


def _reason(tuned: Tuned) -> str:
    unit = "instructions" if tuned.measured[0].cycles is None else "estimated cycles"
    figures = ", ".join(f"{m.kernel} {m.cost:,}" for m in tuned.measured)
    return f"fastest on this layer, in {unit}: {figures}"
