"""Measure networks beside the competition: a table of speed, one of bytes, and bar charts, in the terminal.

    python tools/bench.py [--json] [model.tflite ...]

Without models: examples/digits, and of ../shared/models those that peers.json knows. Each network is built as
`tinyml build` would for the emulated cores and run once under the profiler. Instructions are counted
exactly; cycles are estimated from published timings (tinyml/run/cycles.py), with the waits for flash of the
boards in PRICED_AS. The competition's figures, measured on boards or counted in the same emulator, are in
peers.json with their provenance.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinyml import boards
from tinyml.build import Planning, compile_model, emulated_firmware, open_target
from tinyml.errors import DoesNotFit
from tinyml.graph import Graph, OpKind
from tinyml.report.latency import TABLE as LATENCY
from tinyml.run.profile import profile
from tinyml.verify import sample_inputs

ROOT = Path(__file__).resolve().parent.parent
PEERS: dict[str, Any] = json.loads((ROOT / "tools" / "peers.json").read_text())
SHARED = Path(os.environ.get("TINYML_SHARED") or ROOT.parent / "shared") / "models"
MACHINES = {"cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500", "cortex-m55": "mps3-an547"}
# Whose flash is waited for: the records' board, and one with a record. The M55 has no real board here.
PRICED_AS = {"cortex-m4": "nucleo_l4r5zi", "cortex-m7": "stm32f746"}
RATIO_OF = "X-CUBE-AI 9"  # measured on boards of both cores
BAR_CELLS = 44
CODE_GOALS = {"latency": 30_000, "flash": 12_000}  # bytes, by objective
WEIGHTED = (OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.FULLY_CONNECTED)


@dataclass(frozen=True, slots=True)
class Run:
    """What one inference took on an emulated core: counted, and estimated without and with flash waits."""

    instructions: int
    cycles: int
    wait_cycles: int

    @property
    def all_cycles(self) -> int:
        """Estimated cycles with the waits for flash."""
        return self.cycles + self.wait_cycles


@dataclass(frozen=True, slots=True)
class Compact:
    """What the least code takes."""

    code_bytes: int
    instructions: int


@dataclass(frozen=True, slots=True)
class Result:
    """A network's figures; `runs` by core, without those it does not fit."""

    model: str
    macs: int
    arena_bytes: int
    constant_bytes: int
    part_bytes: int  # of the constants: weights, biases and 8 bytes of requantisation per output channel
    code_bytes: int  # of the model and its kernels, on the M4
    compact: Compact  # with --objective flash, on the M4
    runs: dict[str, Run]


def default_models() -> list[Path]:
    """Return the networks at hand: the example, and those that have peers."""
    shared = [SHARED / f"{name}.tflite" for name in PEERS["models"]]
    return [ROOT / "examples" / "digits" / "digits.tflite", *(path for path in shared if path.is_file())]


def measure(path: Path, cores: Sequence[str] = tuple(MACHINES)) -> Result:
    """Build and run one network on each core; the first must have room for it."""
    runs: dict[str, Run] = {}
    first = None
    for core in cores:
        board = boards.load(MACHINES[core])
        compiled = compile_model(path, board)
        name = compiled.graph.name
        inputs = sample_inputs(path, compiled.graph, data=None, seed=0, index=0)
        with tempfile.TemporaryDirectory() as folder:
            try:
                open_target(compiled, Path(folder), toolchain="gcc")
            except DoesNotFit:
                continue
            elf = emulated_firmware(Path(folder), board)
            real = boards.load(PRICED_AS.get(core, board.id))
            total = (counted := profile(elf, board, name, inputs, priced_as=real)).total
            assert total.cycles is not None
            assert total.wait_cycles is not None
            runs[core] = Run(total.instructions, total.cycles, total.wait_cycles)
            if first is None:
                first = Result(
                    name,
                    compiled.plan.macs,
                    compiled.plan.arena_bytes,
                    compiled.context().constant_bytes,
                    part_bytes(compiled.graph),
                    _code_bytes(elf, counted.functions),
                    _compact(path, core),
                    runs,
                )
    assert first is not None, f"{path.stem} fits none of {', '.join(cores)}"
    return first


def _compact(path: Path, core: str) -> Compact:
    """Build and run the network with the least code."""
    board = boards.load(MACHINES[core])
    compiled = compile_model(path, board, Planning(objective="flash"))
    inputs = sample_inputs(path, compiled.graph, data=None, seed=0, index=0)
    with tempfile.TemporaryDirectory() as folder:
        open_target(compiled, Path(folder), toolchain="gcc")
        elf = emulated_firmware(Path(folder), board)
        counted = profile(elf, board, compiled.graph.name, inputs)
        return Compact(_code_bytes(elf, counted.functions), counted.total.instructions)


def part_bytes(graph: Graph) -> int:
    """Return the bytes of weights, biases and requantisation, of layers as the passes leave them."""
    total = 0
    for op in graph.ops:
        if op.kind in WEIGHTED:
            weights = graph.tensors[op.inputs[1]]
            channels = weights.shape[3 if op.kind is OpKind.DEPTHWISE_CONV_2D else 0]
            total += weights.elements + 12 * channels
    return total


def _code_bytes(elf: Path, executed: Mapping[str, int]) -> int:
    """Return the bytes of all functions that an inference runs, the library's among them."""
    listed = subprocess.run(["arm-none-eabi-nm", "-S", str(elf)], capture_output=True, text=True, check=True)
    sizes = {
        fields[3]: int(fields[1], 16)
        for line in listed.stdout.splitlines()
        if len(fields := line.split()) == 4 and fields[2] in "tTwW"
    }
    return sum(sizes.get(name, 0) for name in executed)


def records(model: str, core: str) -> dict[str, int]:
    """Return {software: cycles on a board of this core}, fewest first."""
    found = {
        f"{entry['software']}, {entry['board'].removeprefix('NUCLEO-')}": round(
            entry["ms"][model] * 1e-3 * entry["clock_hz"]
        )
        for entry in PEERS["silicon"]["entries"]
        if entry["core"] == core and model in entry["ms"]
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def verdict(cycles: int, record: int) -> str:
    """Say whether an estimate lies below a board's cycles; "surely" were it as wrong as is known."""
    difference = f"{cycles / record - 1:+.0%}"
    if cycles * LATENCY["calibration"]["ratio_high"] < record:
        return f"{difference}, surely below"
    return f"{difference}, below" if cycles < record else f"{difference}, above"


def _millions(count: int | None) -> str:
    if count is None:
        return "–"
    return (
        f"{count / 1e6:.3f}" if count < 1e6 else f"{count / 1e6:.2f}" if count < 1e8 else f"{count / 1e6:.0f}"
    )


def instruction_table(results: Sequence[Result]) -> Table:
    """Executed instructions beside the peers', and what was set out to reach."""
    table = Table(
        title="Executed instructions, millions", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    table.add_column("model")
    for heading in ("MACs", "M4", "per MAC", "TFLM", "TinyEngine", "goal", "", "M55", "TFLM ", "goal ", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        peers = PEERS["models"].get(result.model, {})
        m4, m55 = result.runs.get("cortex-m4"), result.runs.get("cortex-m55")
        table.add_row(
            result.model,
            f"{result.macs / 1e6:.2f}",
            _millions(m4.instructions if m4 else None),
            f"{m4.instructions / result.macs:.2f}" if m4 and result.macs else "–",
            _millions(peers.get("tflm", {}).get("instructions")),
            _millions(peers.get("tinyengine", {}).get("instructions")),
            *_goal("cortex-m4", result.model, m4),
            _millions(m55.instructions if m55 else None),
            _millions(peers.get("tflm", {}).get("instructions_m55")),
            *_goal("cortex-m55", result.model, m55),
        )
    return table


def _goal(core: str, model: str, run: Run | None) -> tuple[str, Text]:
    goals = PEERS["targets"][core].get(model)
    if not goals or run is None:
        return "–", Text()
    reached = [run.instructions <= goal for goal in goals]
    sign = Text("reached", style="green") if reached[0] else Text("not yet", style="yellow")
    if all(reached) and len(goals) > 1:
        sign = Text("exceeded", style="bold green")
    return " / ".join(_millions(goal) for goal in goals), sign


def cycle_table(results: Sequence[Result]) -> Table:
    """Estimated cycles beside the best that boards have been measured at."""
    table = Table(
        title="Cycles, millions: ours estimated, the records measured on boards",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("model")
    table.add_column("core")
    for heading in ("~cycles", "per MAC", "~flash waits", "record"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("by")
    table.add_column("ours is")
    for result in results:
        for core in ("cortex-m4", "cortex-m7"):
            run = result.runs.get(core)
            if run is None:
                continue
            known = records(result.model, core)
            who, record = next(iter(known.items()), ("", None))
            said = verdict(run.all_cycles, record) if record else ""
            table.add_row(
                result.model,
                core.removeprefix("cortex-").upper(),
                _millions(run.cycles),
                f"{run.cycles / result.macs:.2f}" if result.macs else "–",
                _millions(run.wait_cycles),
                _millions(record),
                who,
                Text(said, style="red" if said.endswith("above") else "green"),
            )
    return table


def ratio_table(results: Sequence[Result]) -> Table:
    """How much fewer cycles an M7 takes than an M4: by our model, and of one software measured on boards.

    The one check there is of the M7's prices: of no software are both the instructions and the cycles known.
    """
    table = Table(
        title="Cycles on M7 over cycles on M4: ours estimated, the other measured on boards",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("model")
    for heading in ("ours", RATIO_OF, "ours over it"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        ours, measured = cycle_ratio(result), measured_ratio(result.model)
        if ours is not None and measured is not None:
            table.add_row(result.model, f"{ours:.2f}", f"{measured:.2f}", f"{ours / measured - 1:+.0%}")
    return table


def cycle_ratio(result: Result) -> float | None:
    """Return our estimated cycles on the M7, with its waits for flash, over those on the M4."""
    if not {"cortex-m4", "cortex-m7"} <= result.runs.keys():
        return None
    return result.runs["cortex-m7"].all_cycles / result.runs["cortex-m4"].all_cycles


def measured_ratio(model: str) -> float | None:
    """Return the same of RATIO_OF, on boards."""
    cycles = {
        entry["core"]: entry["ms"][model] * entry["clock_hz"]
        for entry in PEERS["silicon"]["entries"]
        if entry["software"] == RATIO_OF and model in entry["ms"]
    }
    return cycles["cortex-m7"] / cycles["cortex-m4"] if len(cycles) == 2 else None


def byte_table(results: Sequence[Result]) -> Table:
    """Arena and flash beside the peers'."""
    table = Table(title="Bytes", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("model")
    headings = (
        "arena",
        "TFLM",
        "TinyEngine",
        "constants",
        "over",
        "TFLM ",
        "TinyEngine ",
        "code",
        "TFLM  ",
        "TinyEngine  ",
        "least code",
        "slower by",
    )
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        peers = PEERS["models"].get(result.model, {})
        cells: list[Text] = []
        for ours, figure in (
            (result.arena_bytes, "ram_bytes"),
            (result.constant_bytes, "constant_bytes"),
            (result.code_bytes, "code_bytes"),
        ):
            goal = {"constant_bytes": 1.05 * result.part_bytes, "code_bytes": CODE_GOALS["latency"]}.get(
                figure
            )
            cells.append(_within(ours, goal))
            if figure == "constant_bytes":
                cells.append(Text(f"{ours / result.part_bytes - 1:+.1%}" if result.part_bytes else "–"))
            for peer in ("tflm", "tinyengine"):
                value = peers.get(peer, {}).get(figure)
                cells.append(Text("–" if value is None else f"{value:,}"))
        cells.append(_within(result.compact.code_bytes, CODE_GOALS["flash"]))
        usual = next(iter(result.runs.values())).instructions
        cells.append(Text(f"{result.compact.instructions / usual - 1:.0%}"))
        table.add_row(result.model, *cells)
    return table


def _within(value: int, goal: float | None) -> Text:
    """Return a number of bytes, in the colour of whether it is what was set out to reach."""
    return Text(f"{value:,}", style="" if goal is None else "green" if value <= goal else "red")


def bar_chart(
    title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float, str]]]], unit: str
) -> RenderableType:
    """Return horizontal bars on one scale.

    Args:
        title: of the chart.
        groups: (name, bars) with a bar (label, value, style) each.
        unit: of the values.
    """
    longest = max((value for _, bars in groups for _, value, _ in bars), default=0.0)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for name, bars in groups:
        for i, (label, value, style) in enumerate(bars):
            bar = Text(_bar(value / longest if longest else 0.0), style=style)
            table.add_row(name if i == 0 else "", label, bar + Text(f" {value:.2f}", style="default"))
        table.add_row()
    return Group(Text(f"{title}, {unit}", style="bold"), table)


def _bar(share: float) -> str:
    """Return a bar of eighths of a cell; a value above 0 shows at least one."""
    eighths = max(round(share * BAR_CELLS * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]


def charts(results: Sequence[Result]) -> list[RenderableType]:
    """Return the charts of instructions, and of cycles where a board's are known."""
    instructions, cycles = [], []
    for result in results:
        run = result.runs.get("cortex-m4")
        if run is None or not result.macs:
            continue
        peers = PEERS["models"].get(result.model, {})
        bars = [("tinyml", run.instructions / result.macs, "green")]
        for label, peer in (("TFLM + CMSIS-NN", "tflm"), ("TinyEngine", "tinyengine")):
            if peer in peers:
                bars.append((label, peers[peer]["instructions"] / result.macs, "blue"))
        instructions.append((result.model, bars))
        known = records(result.model, "cortex-m4")
        if known:
            measured = [(who, value / 1e6, "blue") for who, value in known.items()]
            cycles.append((result.model, [("tinyml, estimated", run.all_cycles / 1e6, "green"), *measured]))
    return [
        bar_chart("Executed instructions on Cortex-M4", instructions, "per multiply-accumulate"),
        *([bar_chart("Cycles on Cortex-M4", cycles, "millions")] if cycles else []),
    ]


def notes() -> str:
    """Say what the figures are and where the others come from."""
    low, high = (LATENCY["calibration"][key] for key in ("ratio_low", "ratio_high"))
    return (
        "Instructions are executed ones, counted in QEMU. Our cycles are ESTIMATED from published timings of "
        "the core, not measured; waits for flash are those of "
        f"{' and '.join(PRICED_AS.values())}, with a simulated cache. Boards took {low} to {high} times such "
        "a price of like software: 'surely' is below even then. Code is every function an inference runs, "
        f"at most {CODE_GOALS['latency']:,} bytes wanted; the least is that of --objective flash, "
        f"{CODE_GOALS['flash']:,} wanted. Constants: at most 5 % over weights, biases and 8 bytes of "
        "requantisation per output channel wanted. "
        "The record on M7 is the best of any M7 board's. Goals: owed / "
        f"wanted.\nPeers: {PEERS['provenance']}\nRecords: {PEERS['silicon']['provenance']}"
    )


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--json", action="store_true", help="print the measured figures as JSON")
    arguments = parser.parse_args()
    results = []
    for path in arguments.models or default_models():
        print(f"measuring {path.stem}", file=sys.stderr)
        results.append(measure(path))
    if arguments.json:
        print(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    parts = [instruction_table(results), cycle_table(results), ratio_table(results), byte_table(results)]
    parts += charts(results)
    for part in parts:
        console.print(part)
        console.print()
    console.print(Text(notes(), style="dim"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
