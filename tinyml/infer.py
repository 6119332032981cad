"""One inference on a target, and what it costs: executed instructions in an emulator, cycles on a board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyml.build import Compiled, Toolchain, emulated_firmware, open_target
from tinyml.errors import TargetError, UsageError
from tinyml.graph import Array
from tinyml.run.profile import Cost
from tinyml.run.profile import profile as count_instructions
from tinyml.verify import sample_inputs


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A model output: `values` as the target computed them, `real` = scale · (q − zero_point)."""

    name: str
    values: Array
    real: Array

    def to_json(self) -> dict[str, Any]:
        """Return plain values, flat."""
        return {
            "name": self.name,
            "shape": list(self.values.shape),
            "dtype": str(self.values.dtype),
            "values": self.values.reshape(-1).tolist(),
            "real": self.real.reshape(-1).tolist(),
        }


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer cost: `cost` (instructions, estimated cycles) emulated, `cycles` counted by a board.

    `kernels` are the C kernels that ran: one, or those of the operators that a layer streams.
    """

    index: int
    name: str
    op: str
    macs: int
    kernels: tuple[str, ...]
    cost: Cost | None = None
    cycles: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is not known is null."""
        return {
            "index": self.index,
            "name": self.name,
            "op": self.op,
            "macs": self.macs,
            "kernels": list(self.kernels),
            **_cost_json(self.cost),
            "instructions_per_mac": _per_mac(self.cost.instructions if self.cost else None, self.macs),
            "estimated_cycles_per_mac": _per_mac(self.cost.cycles if self.cost else None, self.macs),
            "cycles": self.cycles,
        }


def _cost_json(cost: Cost | None) -> dict[str, Any]:
    keys = ("instructions", "classes", "estimated_cycles", "estimated_wait_cycles")
    return cost.to_json() if cost else dict.fromkeys(keys)


def _per_mac(amount: int | None, macs: int) -> float | None:
    return round(amount / macs, 4) if amount is not None and macs else None


@dataclass(frozen=True, slots=True, eq=False)
class InferenceReport:
    """What one inference gave and cost. `layers` is empty unless profiled; None is "not counted"."""

    model: str
    board: str
    target: str  # who ran it: the board, its emulated twin, or the host
    outputs: tuple[Output, ...]
    cost: Cost | None = None  # emulated and profiled
    core: str = ""  # whose timings the estimated cycles come from
    cycles: int | None = None
    stack_free: int | None = None
    layers: tuple[LayerCost, ...] = ()

    @property
    def instructions(self) -> int | None:
        """Executed instructions, None where not counted."""
        return self.cost.instructions if self.cost else None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "model": self.model,
            "board": self.board,
            "target": self.target,
            "outputs": [output.to_json() for output in self.outputs],
            "core": self.core or None,
            **_cost_json(self.cost),
            "cycles": self.cycles,
            "stack_free": self.stack_free,
            "layers": [layer.to_json() for layer in self.layers],
        }


def infer(
    compiled: Compiled,
    folder: Path,
    *,
    data: Path | None = None,
    sample: int = 0,
    seed: int = 0,
    port: str | None = None,
    toolchain: Toolchain = "platformio",
    profile: bool = False,
    progress: Callable[[str], None] | None = None,
) -> InferenceReport:
    """Build what runs the model, run it once, and report.

    Args:
        compiled: a planned model.
        folder: where to build; an empty or new folder.
        data: a .npy or .npz file with samples; random values where absent.
        sample: which one of them.
        seed: of the random values.
        port: the serial port of a real board; without it the emulator, or the host.
        toolchain: as for `build`.
        profile: also count per layer.
        progress: told one line per step.

    Raises:
        UsageError: data that does not fit, or a target that can count nothing.
        TargetError: the target does not answer as it should.
    """
    board, graph = compiled.board, compiled.graph
    if profile and board.is_host:
        raise UsageError(
            "nothing is counted on the host",
            where="--profile",
            expected="expected an emulated board, where instructions are counted, or --port",
            hint="for example --board mps2-an386",
        )
    inputs = sample_inputs(compiled.source, graph, data=data, seed=seed, index=sample)
    with open_target(compiled, folder, port=port, toolchain=toolchain, progress=progress) as target:
        inference = target.infer(inputs)
        traced = target.trace(inputs) if profile and port else []
        layers = {layer.index: layer for layer in target.layers()}
        ran_on = target.info.board
    kernels = _kernels(compiled)
    costs = tuple(
        LayerCost(t.index, t.name, t.op, layers[t.index].macs, kernels[t.index], cycles=t.cycles)
        for t in traced
    )
    counted = None
    if profile and not port:
        runner = board.emulated()
        if runner is None:
            raise TargetError(f"{board.id} has no emulator", hint="profile the board itself with --port")
        elf = emulated_firmware(folder, runner)
        counted = count_instructions(elf, runner, graph.name, inputs, priced_as=board)
        costs = tuple(
            LayerCost(c.index, c.name, c.op, c.macs, kernels[c.index], c.cost) for c in counted.layers
        )
    outputs = []
    for raw, index in zip(inference.outputs, graph.outputs, strict=True):
        tensor = graph.tensors[index]
        values = raw.view(tensor.dtype.value).reshape(tensor.shape)
        real = values
        if tensor.quant is not None:
            real = tensor.scale * (values.astype("float64") - tensor.zero_point)
        outputs.append(Output(tensor.name, values, real))
    return InferenceReport(
        model=graph.name,
        board=board.id,
        target=ran_on,
        outputs=tuple(outputs),
        cost=counted.total if counted else None,
        core=counted.core if counted else "",
        cycles=inference.cycles,
        stack_free=inference.stack_free,
        layers=costs,
    )


def _kernels(compiled: Compiled) -> list[tuple[str, ...]]:
    """Return the symbols of the kernels that each layer of the generated code runs."""
    stages = [
        tuple(kernel.symbol for op in stage.ops if (kernel := compiled.selections[op].kernel))
        for stage in compiled.plan.stages
    ]
    return [symbols for symbols in stages if symbols]
