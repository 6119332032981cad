"""Fit tinyml/report/latency.json, the latency estimate of `tinyml plan`, to priced profiles.

    python tools/fit_latency.py [--write] [--core CORE]... [--missing] [model.tflite ...]

Every model (examples/digits and ../shared/models where none is named) is built for each core, with all the
instruction sets its kernels have and with the portable ones only, and run once under the profiler. So are
single calls of every kernel in the registry: a grid of layers such as networks have, and graphs of the
kernels' own tests (tests/kernels/portable_cases.py), each put to every kernel that accepts it. A new kernel
needs no entry here where a generator makes operators of its kind; --missing measures, on the cores that lack
some, only the kernels without a row, and leaves the others.

Cores without an emulated board of their own run on another's: their code is a subset of what it executes.
RISC-V has no cycle model: its instructions are counted, no more.
Per kernel, instructions and estimated cycles are then fitted as a·work + b·outputs + c per call, with work in
multiply-accumulates (or elements read), by non-negative least squares on relative errors.

Prints and writes, per core, how far the fit is off a network it has not seen (each in turn is left out)
and off single calls that it has not seen, how often the registry's order chose the kernel that was measured
cheapest, and how far the prices are from silicon: `calibration`, from the boards' figures in
tools/peers.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for the single calls, which the kernels' tests know how to make

from tests.kernels import mve_cases  # noqa: E402
from tests.kernels.count_dsp import build_plugin, shapes, wide_shapes  # noqa: E402
from tests.kernels.counted_calls import RISCV, count_calls  # noqa: E402
from tests.kernels.dsp_cases import conv_graph, dense_graph  # noqa: E402
from tests.kernels.kernel_cases import case_for, inputs_for  # noqa: E402
from tests.kernels.portable_cases import GENERATORS  # noqa: E402
from tinyml import boards, passes, planner  # noqa: E402
from tinyml.boards import Board  # noqa: E402
from tinyml.build import Compiled, emulated_firmware, open_target  # noqa: E402
from tinyml.errors import DoesNotFit, UnsupportedOp  # noqa: E402
from tinyml.graph import Graph, OpKind, Pads  # noqa: E402
from tinyml.kernels import KERNELS  # noqa: E402
from tinyml.kernels.registry import Isa, Kernel, OpContext  # noqa: E402
from tinyml.readers.tflite import read_model  # noqa: E402
from tinyml.report import latency  # noqa: E402
from tinyml.run.profile import price_calls, profile  # noqa: E402
from tinyml.select import Selection, accepting, select  # noqa: E402

PEERS: dict[str, Any] = json.loads((ROOT / "tools" / "peers.json").read_text())
SHARED = Path(os.environ.get("TINYML_SHARED") or ROOT.parent / "shared") / "models"
MACHINES = {
    "cortex-m0": "mps2-an386",
    "cortex-m0plus": "mps2-an386",
    "cortex-m3": "mps2-an386",
    "cortex-m4": "mps2-an386",
    "cortex-m7": "mps2-an500",
    "cortex-m33": "mps2-an505",
    "cortex-m55": "mps3-an547",
}
CORES = (*MACHINES, RISCV)
LARGEST_PORTABLE = 20_000_000  # multiply-accumulates of a network that is also run without SIMD
RANDOM = 30  # graphs of every generator
CALLS = 9  # of every kernel, at least, where so many of these graphs are to its liking
PROGRAM = 150  # calls in one program

# Single layers: (side, channels in, out[, kernel, stride]), (side, channels, kernel, stride), (in, out).
# fmt: off
POINTWISE = [(12, 8, 16), (20, 16, 48), (10, 24, 144), (10, 144, 24), (6, 64, 64), (3, 128, 128),
             (2, 256, 256), (1, 96, 10)]
CONVOLUTIONS = [(16, 16, 16, 3, 1), (16, 16, 32, 3, 2), (8, 64, 64, 3, 1), (32, 3, 16, 3, 2),
                (24, 3, 8, 3, 1), (10, 8, 8, 5, 1)]
DEPTHWISE = [(48, 8, 3, 1), (20, 48, 3, 1), (6, 128, 3, 1), (5, 64, 3, 1), (24, 16, 3, 2), (12, 64, 3, 2),
             (20, 8, 5, 1), (12, 24, 5, 2), (16, 8, 7, 1), (14, 16, 7, 2)]
DENSE = [(16, 10), (64, 12), (256, 2), (128, 128), (640, 128), (128, 640), (8, 128)]
# fmt: on


@dataclass(frozen=True, slots=True)
class Layer:
    """One profiled layer, or one call (`network` None); `best` with all the instruction sets of the core.

    `typical` layers are of sizes such as networks have; the others are of the kernels' tests.
    """

    network: str | None
    best: bool
    typical: bool
    operator: str
    kernel: str
    isa: str
    work: int
    outputs: int
    instructions: int
    cycles: int | None


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel on a graph of one operator."""

    kernel: Kernel
    graph: Graph
    typical: bool


def board_for(core: str, folder: Path) -> Board:
    """Return an emulated board that runs code of a core: its own, or the M4's under another name."""
    machine = boards.load(MACHINES[core])
    if machine.core == core:
        return machine
    path = folder / f"{core.replace('cortex-', '')}-on-{machine.id}.json"
    fields = {
        "name": f"{core} code on {machine.name}",
        "build": {"cpu": core, "float_abi": "soft", "fpu": None},
        "tinyml": {"extends": machine.id, "isa": ["c"]},
    }
    path.write_text(json.dumps(fields))
    return boards.load(path)


def typical_layers() -> Iterator[Graph]:
    """Yield layers of many shapes, so that a kernel's costs are not those of one network's shapes."""
    yield from (shape.graph for shape in (*shapes(), *wide_shapes()))
    for side, in_c, out_c in POINTWISE:
        yield conv_graph(in_shape=(side, side, in_c), out_c=out_c)
    for side, in_c, out_c, k, stride in CONVOLUTIONS:
        yield conv_graph(
            in_shape=(side, side, in_c), out_c=out_c, kernel=(k, k), stride=(stride, stride), pads=_same(k)
        )
    for side, channels, k, stride in DEPTHWISE:
        yield conv_graph(
            in_shape=(side, side, channels),
            out_c=channels,
            kernel=(k, k),
            stride=(stride, stride),
            pads=_same(k),
            depthwise=True,
        )
    for in_c, out_c in DENSE:
        yield dense_graph(in_c=in_c, out_c=out_c)
    yield from _plain_layers()


def _plain_layers() -> Iterator[Graph]:
    """Yield operators that SIMD kernels run, of some size."""
    for graph in mve_cases.graphs():
        (op,) = graph.ops
        if op.kind not in _WEIGHTED and graph.tensors[op.outputs[0]].elements >= 100:
            yield graph


_WEIGHTED = (OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.FULLY_CONNECTED)


def calls(isas: Sequence[Isa], wanted: Sequence[Kernel]) -> list[Call]:
    """Return the calls to measure: of each wanted kernel, and of all that accept the same graphs.

    Args:
        isas: of the core, preferred first.
        wanted: kernels of these instruction sets.
    """
    typical = list(typical_layers())
    pool = _random_graphs()
    chosen: dict[int, tuple[Graph, bool]] = {}
    for kernel in wanted:
        liked = [g for g in typical if _accepts(kernel, g)]
        chosen |= {id(graph): (graph, True) for graph in liked}
        more = sorted((g for g in pool if _accepts(kernel, g)), key=_size)
        missing = CALLS - len(liked)
        if missing > 0 and more:  # the largest, and some from all sizes
            picked = [*more[-(missing // 2 + 1) :], *more[:: max(1, 2 * len(more) // missing)]]
            chosen |= {id(graph): (graph, False) for graph in picked}
    return [
        Call(kernel, graph, sized)
        for graph, sized in chosen.values()
        for kernel in accepting(graph, graph.ops[0], isas)
    ]


def _accepts(kernel: Kernel, graph: Graph) -> bool:
    (op,) = graph.ops
    return kernel.op is op.kind and not kernel.refusals(OpContext(graph, op))


def _size(graph: Graph) -> int:
    return sum(tensor.elements for tensor in graph.tensors)


def _random_graphs() -> list[Graph]:
    """Return graphs of all generators of the kernels' tests, one image each."""
    found = []
    generators = dict.fromkeys(itertools.chain.from_iterable(GENERATORS.values()))
    for seed, generator in enumerate(generators):
        rng = np.random.default_rng(seed)
        graphs = (generator(rng) for _ in range(RANDOM))
        found += [graph for graph in graphs if OpContext(graph, graph.ops[0]).images == 1]
    return found


def measured(core: str, wanted: Sequence[Call], plugin: Path) -> list[Layer]:
    """Run the calls, and return what each took."""
    layers = []
    for at in range(0, len(wanted), PROGRAM):
        part = wanted[at : at + PROGRAM]
        print(f"{core}: calls {at + 1} to {at + len(part)} of {len(wanted)}", file=sys.stderr)
        rng = np.random.default_rng(at)
        cases = [case_for(call.kernel, call.graph, inputs_for(call.graph, rng)) for call in part]
        with tempfile.TemporaryDirectory() as name:
            counted = count_calls(cases, core, plugin, Path(name))
            cycles: list[int | None] = [None] * len(part)
            if core != RISCV:
                cycles = [cost.cycles for cost in price_calls(counted.program, counted.report, core)]
        for call, case, instructions, priced in zip(part, cases, counted.instructions, cycles, strict=True):
            (op,) = call.graph.ops
            layers.append(
                Layer(
                    None,
                    True,
                    call.typical,
                    op.kind.value,
                    call.kernel.symbol,
                    call.kernel.isa.value,
                    latency.work(call.graph, Selection(0, call.kernel, case.lowered, "")),
                    call.graph.tensors[op.outputs[0]].elements,
                    instructions,
                    priced,
                )
            )
    return layers


def _same(k: int) -> Pads:
    return Pads(k // 2, k // 2, k // 2, k // 2)


def profiled(graph: Graph, board: Board, isas: Sequence[Isa]) -> list[Layer]:
    """Run a network once, layer by layer, and return its layers; none where the board cannot hold it."""
    try:
        selections = select(graph, isas)
        plan = planner.plan(graph, selections, stream_above=None)
        if list(isas) == [Isa.C] and plan.macs > LARGEST_PORTABLE:
            return []
        compiled = Compiled(Path(graph.name), graph, tuple(selections), plan, board, board.sram_bytes)
        rng = np.random.default_rng(0)
        inputs = [rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs]
        with tempfile.TemporaryDirectory() as name:
            open_target(compiled, Path(name), toolchain="gcc")
            counted = profile(emulated_firmware(Path(name), board), board, graph.name, inputs)
    except (DoesNotFit, UnsupportedOp) as error:
        print(f"  {graph.name}: {error}".splitlines()[0], file=sys.stderr)
        return []
    order = [i for stage in compiled.plan.stages for i in stage.ops if compiled.selections[i].kernel]
    found = []
    for index, layer in zip(order, counted.layers, strict=True):
        op, selection = compiled.graph.ops[index], compiled.selections[index]
        assert selection.kernel is not None
        assert layer.cost.cycles is not None
        found.append(
            Layer(
                compiled.graph.name,
                list(isas) == [Isa(isa) for isa in reversed(board.isa)],
                True,
                op.kind.value,
                selection.kernel.symbol,
                selection.kernel.isa.value,
                latency.work(compiled.graph, selection),
                compiled.graph.tensors[op.outputs[0]].elements,
                layer.instructions,
                layer.cost.cycles,
            )
        )
    return found


def fit(rows: Iterable[tuple[int, int, int]]) -> list[float]:
    """Fit counted = a·work + b·outputs + c with least relative errors and none below 0; return [a, b, c]."""
    works, outputs, counted = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    every = np.stack([works, outputs, np.ones_like(works)], 1) / counted[:, None]
    best = (np.inf, 0.0, 0.0, 0.0)
    for size in (1, 2, 3):  # with so few unknowns all active sets can be tried
        for columns in itertools.combinations(range(3), size):
            some = every[:, columns]
            if not some.any(axis=0).all():
                continue
            solution = np.linalg.lstsq(some, np.ones(len(counted)), rcond=None)[0]
            if (solution < 0).any():
                continue
            error = float(np.square(some @ solution - 1).sum())
            terms = dict(zip(columns, solution.tolist(), strict=True))
            best = min(best, (error, *(terms.get(i, 0.0) for i in range(3))))
    return [float(f"{value:.4g}") for value in best[1:]]


def table(layers: Sequence[Layer]) -> dict[str, dict[str, Any]]:
    """Return {kernel symbol, and "OPERATOR isa" for kernels without a row: costs}.

    `layers` says how many different calls were counted, and `per_work` the fewest and the most instructions
    per unit of work of typical ones (of all where none is); the rest is fitted. No cycles where a core has no
    model.
    """
    groups: dict[str, dict[tuple[int, int, int, int | None], bool]] = defaultdict(dict)
    for layer in layers:
        for key in (layer.kernel, f"{layer.operator} {layer.isa}"):
            row = (layer.work, layer.outputs, layer.instructions, layer.cycles)
            groups[key][row] = groups[key].get(row, False) or layer.typical
    return {key: _costs(rows) for key, rows in sorted(groups.items())}


def _costs(rows: Mapping[tuple[int, int, int, int | None], bool]) -> dict[str, Any]:
    usual = [row for row, typical in rows.items() if typical] or list(rows)
    per_work = [i / w for w, _, i, _ in usual if w]
    priced = [(w, o, c) for w, o, _, c in rows if c is not None]
    return {
        "layers": len(rows),
        "per_work": [round(f(per_work), 3) for f in (min, max)] if per_work else None,
        "instructions": fit((w, o, i) for w, o, i, _ in rows),
        "cycles": fit(priced) if priced else None,
    }


def _estimate(known: Mapping[str, Any], layer: Layer, what: str) -> float:
    costs = latency.coefficients(known, layer.kernel, layer.operator, layer.isa)[what]
    return float(np.dot(costs, (layer.work, layer.outputs, 1)))


def unseen_network(layers: Sequence[Layer], network: str) -> list[float]:
    """Return a network's relative error of cycles when everything else makes the fit; [] if not run."""
    known = table([layer for layer in layers if layer.network != network])
    own = [layer for layer in layers if layer.network == network and layer.best]
    if not own:
        return []
    estimated = sum(_estimate(known, layer, "cycles") for layer in own)
    return [round(estimated / sum(layer.cycles or 0 for layer in own) - 1, 4)]


def unseen_calls(layers: Sequence[Layer], what: str) -> dict[str, float]:
    """Return how far single calls are off when the others make the fit: the median, and of nine in ten.

    Every fifth call is left out in turn.
    """
    errors = []
    for turn in range(5):
        known = table([layer for i, layer in enumerate(layers) if i % 5 != turn])
        for i, layer in enumerate(layers):
            counted = layer.instructions if what == "instructions" else layer.cycles
            if i % 5 == turn and layer.network is None and layer.kernel in known and counted:
                errors.append(abs(_estimate(known, layer, what) / counted - 1))
    return {
        "calls": len(errors),
        "median": round(float(np.median(errors)), 3),
        "nine_in_ten": round(float(np.quantile(errors, 0.9)), 3),
    }


def order(wanted: Sequence[Call], layers: Sequence[Layer]) -> dict[str, Any]:
    """Return how the registry's order fared where several kernels accept.

    `first_is_cheapest` says on how many of these graphs; `lost` what the first kernels cost over the
    cheapest, on all of them; `worse` which were first and a twentieth dearer than another, and how often.
    """
    groups: dict[int, list[Layer]] = defaultdict(list)
    for call, layer in zip(wanted, layers, strict=True):
        if call.typical:
            groups[id(call.graph)].append(layer)
    several = [[(lay.cycles or lay.instructions, lay.kernel) for lay in g] for g in groups.values() if g[1:]]
    worse: dict[str, int] = defaultdict(int)
    for first, *others in several:
        cheapest = min(others)
        if first[0] > 1.05 * cheapest[0]:
            worse[f"{first[1]} beside {cheapest[1]}"] += 1
    return {
        "graphs": len(several),
        "first_is_cheapest": sum(group[0] == min(group) for group in several),
        "lost": round(
            sum(group[0][0] for group in several) / max(1, sum(min(group)[0] for group in several)) - 1, 4
        ),
        "worse": dict(sorted(worse.items())),
    }


def calibration() -> dict[str, Any]:
    """Return the ratio of silicon's cycles to the model's where both are known of like software."""
    points = []
    for point in PEERS["calibration"]["points"]:
        measured = point["measured_ms"] * 1e-3 * point["clock_hz"]
        points.append({**point, "ratio": round(measured / point["model_cycles"], 3)})
    ratios = [point["ratio"] for point in points]
    return {
        "provenance": PEERS["calibration"]["provenance"],
        "points": points,
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }


def isas_of(core: str) -> list[Isa]:
    """Return a core's instruction sets, preferred first."""
    if core == "cortex-m55":
        return [Isa.MVE, Isa.DSP, Isa.C]
    return [Isa.DSP, Isa.C] if core in ("cortex-m4", "cortex-m7", "cortex-m33") else [Isa.C]


def kernels_of(core: str) -> list[Kernel]:
    """Return the registry's kernels that a core can run."""
    return [kernel for kernel in KERNELS if kernel.isa in isas_of(core)]


def main() -> None:
    """Fit, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--core", action="append", choices=sorted(CORES), help="this core only")
    parser.add_argument("--missing", action="store_true", help="only kernels that have no row")
    parser.add_argument("--write", action="store_true", help="write tinyml/report/latency.json")
    arguments = parser.parse_args()
    models = arguments.models or [
        ROOT / "examples" / "digits" / "digits.tflite",
        *(SHARED / f"{name}.tflite" for name in PEERS["models"] if (SHARED / f"{name}.tflite").is_file()),
    ]
    networks = [passes.run(read_model(path)) for path in models]
    compiler = subprocess.run(
        ["arm-none-eabi-gcc", "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    cores = dict(latency.TABLE["cores"]) if arguments.core or arguments.missing else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugin = build_plugin(folder)
        for core in arguments.core or CORES:
            if arguments.missing:
                cores[core] = with_missing(core, cores.get(core), plugin)
                continue
            cores[core] = fitted(core, networks, folder, plugin)
            worst = max((abs(error) for error in cores[core]["unseen"].values()), default=0.0)
            print(f"{core}: at most {worst:.0%} off an unseen network: {cores[core]['unseen']}")
            print(f"  unseen calls: {cores[core]['unseen_calls']}; order: {cores[core]['order']}")
            if arguments.write:
                write(cores, networks, compiler)
    low, high = (calibration()[key] for key in ("ratio_low", "ratio_high"))
    print(f"silicon took {low} to {high} times the model's cycles")
    if arguments.write:
        write(cores, networks, compiler)


def fitted(core: str, networks: Sequence[Graph], folder: Path, plugin: Path) -> dict[str, Any]:
    """Measure networks and all kernels on a core, and return its entry."""
    layers: list[Layer] = []
    if core in MACHINES:
        board = board_for(core, folder)
        best = isas_of(core)
        for graph in networks:
            print(f"{core}: {graph.name}", file=sys.stderr)
            for isas in [best] if best == [Isa.C] else [best, [Isa.C]]:
                layers += profiled(graph, board, isas)
    wanted = calls(isas_of(core), kernels_of(core))
    single = measured(core, wanted, plugin)
    layers += single
    unseen = {graph.name: error for graph in networks for error in unseen_network(layers, graph.name)}
    what = "cycles" if core in MACHINES else "instructions"
    return {
        "unseen": unseen,
        "unseen_calls": unseen_calls(layers, what),
        "order": order(wanted, single),
        "kernels": table(layers),
    }


def with_missing(core: str, entry: dict[str, Any], plugin: Path) -> dict[str, Any]:
    """Return a core's entry with rows for the kernels that have none."""
    missing = [kernel for kernel in kernels_of(core) if kernel.symbol not in entry["kernels"]]
    symbols = {kernel.symbol for kernel in missing}
    print(f"{core}: {', '.join(sorted(symbols)) or 'nothing missing'}")
    wanted = [call for call in calls(isas_of(core), missing) if call.kernel.symbol in symbols]
    rows = {key: row for key, row in table(measured(core, wanted, plugin)).items() if key in symbols}
    return {**entry, "kernels": dict(sorted({**entry["kernels"], **rows}.items()))}


def write(cores: Mapping[str, Any], networks: Sequence[Graph], compiler: str) -> None:
    """Write the table."""
    whole = {
        "command": "python tools/fit_latency.py --write",
        "compiler": compiler,
        "networks": [graph.name for graph in networks],
        "calibration": calibration(),
        "cores": {core: cores[core] for core in CORES if core in cores},
    }
    latency.PATH.write_text(_compact(whole) + "\n", encoding="utf-8")


def _compact(value: Any, indent: int = 0, width: int = 240) -> str:
    """Return JSON that breaks lines only where one would be too long."""
    text = json.dumps(value, ensure_ascii=False)
    if indent + len(text) <= width or not isinstance(value, (dict, list)):
        return text
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    items = (
        [f"{json.dumps(key)}: {_compact(item, indent + 1, width)}" for key, item in value.items()]
        if isinstance(value, dict)
        else [_compact(item, indent + 1, width) for item in value]
    )
    pad = " " * indent
    return opening + "\n" + ",\n".join(f"{pad} {item}" for item in items) + f"\n{pad}{closing}"


if __name__ == "__main__":
    main()
