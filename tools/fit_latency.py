"""Fit tinyml/report/latency.json, the latency estimate of `tinyml plan`, to priced profiles.

    python tools/fit_latency.py [--write] [--core CORE]... [model.tflite ...]

Every model (examples/digits and ../shared/models where none is named), and a grid of single layers, is built
for each core, with all the instruction sets its kernels have and with the portable ones only, and run once
under the profiler.
Cores without an emulated board of their own run on the M4's: their code is a subset of what it executes.
Per kernel, instructions and estimated cycles are then fitted as a·work + b·outputs, with work in
multiply-accumulates (or elements read) and non-negative least squares on relative errors.

Prints and writes, per core, how far the fit is off a network it has not seen (each in turn is left out),
and how far the prices are from silicon: `calibration`, from the boards' figures in tools/peers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for the single layers, which the kernels' tests know how to make

from tests.kernels.dsp_cases import conv_graph, dense_graph  # noqa: E402
from tests.kernels.wide_cases import widened  # noqa: E402
from tinyml import boards, passes, planner  # noqa: E402
from tinyml.boards import Board  # noqa: E402
from tinyml.build import Compiled, emulated_firmware, open_target  # noqa: E402
from tinyml.errors import DoesNotFit, UnsupportedOp  # noqa: E402
from tinyml.graph import Graph, Pads  # noqa: E402
from tinyml.kernels.registry import Isa  # noqa: E402
from tinyml.readers.tflite import read_model  # noqa: E402
from tinyml.report import latency  # noqa: E402
from tinyml.run.profile import profile  # noqa: E402
from tinyml.select import select  # noqa: E402

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
LARGEST_PORTABLE = 20_000_000  # multiply-accumulates of a network that is also run without SIMD

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
    """One profiled layer; `best` where all the core's instruction sets were used."""

    network: str
    best: bool
    operator: str
    kernel: str
    isa: str
    work: int
    outputs: int
    instructions: int
    cycles: int


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


def single_layers() -> Iterator[Graph]:
    """Yield layers of many shapes, so that a kernel's costs are not those of one network's shapes.

    Every other one again with int16 activations.
    """
    layers = list(_int8_layers())
    rng = np.random.default_rng(0)
    yield from layers
    yield from (widened(lambda _, graph=graph: graph)(rng) for graph in layers[::2])


def _int8_layers() -> Iterator[Graph]:
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
        inputs = [
            rng.integers(-128, 128, graph.tensors[i].shape).astype(graph.tensors[i].dtype.value)
            for i in graph.inputs
        ]
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
    """Fit counted = a·work + b·outputs with a, b >= 0, minimising relative errors; return [a, b]."""
    works, outputs, counted = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    both = np.stack([works, outputs], 1) / counted[:, None]
    best = (np.inf, 0.0, 0.0)
    for columns in ([0, 1], [0], [1]):  # with two unknowns all active sets can be tried
        if not both[:, columns].any():
            continue
        solution = np.linalg.lstsq(both[:, columns], np.ones(len(counted)), rcond=None)[0]
        if (solution < 0).any():
            continue
        error = float(np.square(both[:, columns] @ solution - 1).sum())
        a, b = (float(solution[columns.index(c)]) if c in columns else 0.0 for c in (0, 1))
        best = min(best, (error, a, b))
    return [float(f"{value:.4g}") for value in best[1:]]


def table(layers: Sequence[Layer]) -> dict[str, dict[str, Any]]:
    """Return {kernel symbol, and "OPERATOR isa" for kernels that no network ran: costs}.

    `per_work` are the fewest and the most instructions per unit of work, counted; the rest is fitted.
    """
    groups: dict[str, dict[tuple[int, int, int, int], None]] = defaultdict(dict)
    for layer in layers:
        for key in (layer.kernel, f"{layer.operator} {layer.isa}"):
            groups[key][layer.work, layer.outputs, layer.instructions, layer.cycles] = None
    return {
        key: {
            "layers": len(rows),
            "per_work": [round(f(i / w for w, _, i, _ in rows if w), 3) for f in (min, max)]
            if any(w for w, _, _, _ in rows)
            else None,
            "instructions": fit((w, o, i) for w, o, i, _ in rows),
            "cycles": fit((w, o, c) for w, o, _, c in rows),
        }
        for key, rows in sorted(groups.items())
    }


def unseen_error(layers: Sequence[Layer], network: str) -> list[float]:
    """Return a network's relative error of cycles when everything else makes the fit; [] if not run."""
    known = table([layer for layer in layers if layer.network != network])
    own = [layer for layer in layers if layer.network == network and layer.best]
    if not own:
        return []
    estimated = sum(
        float(
            np.dot(
                latency.coefficients(known, layer.kernel, layer.operator, layer.isa)["cycles"],
                (layer.work, layer.outputs),
            )
        )
        for layer in own
    )
    return [round(estimated / sum(layer.cycles for layer in own) - 1, 4)]


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


def main() -> None:
    """Fit, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--core", action="append", choices=sorted(MACHINES), help="this core only")
    parser.add_argument("--write", action="store_true", help="write tinyml/report/latency.json")
    arguments = parser.parse_args()
    models = arguments.models or [
        ROOT / "examples" / "digits" / "digits.tflite",
        *(SHARED / f"{name}.tflite" for name in PEERS["models"] if (SHARED / f"{name}.tflite").is_file()),
    ]
    networks = [passes.run(read_model(path)) for path in models]
    single = [graph.replace(name=f"layer_{i}") for i, graph in enumerate(single_layers())]
    compiler = subprocess.run(
        ["arm-none-eabi-gcc", "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    cores = dict(latency.TABLE["cores"]) if arguments.core else {}
    with tempfile.TemporaryDirectory() as name:
        for core in arguments.core or MACHINES:
            board = board_for(core, Path(name))
            best = [Isa(isa) for isa in reversed(board.isa)]
            layers: list[Layer] = []
            for graph in (*networks, *single):
                print(f"{core}: {graph.name}", file=sys.stderr)
                for isas in [best] if best == [Isa.C] else [best, [Isa.C]]:
                    layers += profiled(graph, board, isas)
            errors = {graph.name: error for graph in networks for error in unseen_error(layers, graph.name)}
            cores[core] = {"unseen": errors, "kernels": table(layers)}
            worst = max((abs(error) for error in errors.values()), default=0.0)
            print(f"{core}: at most {worst:.0%} off an unseen network: {errors}")
    fitted = {
        "command": "python tools/fit_latency.py --write",
        "compiler": compiler,
        "networks": [graph.name for graph in networks],
        "calibration": calibration(),
        "cores": {core: cores[core] for core in MACHINES if core in cores},
    }
    low, high = (fitted["calibration"][key] for key in ("ratio_low", "ratio_high"))
    print(f"silicon took {low} to {high} times the model's cycles")
    if arguments.write:
        latency.PATH.write_text(_compact(fitted) + "\n", encoding="utf-8")


def _compact(value: Any, indent: int = 0, width: int = 110) -> str:
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
