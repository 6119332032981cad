"""Fit tinyml/planner/streaming.json, what the planner reckons that streaming costs, to counted instructions.

    python tools/fit_streaming.py [--write] [--plans N] [model.tflite ...]

Every model (examples and ../shared/models where none is named) is built for BOARD and counted in QEMU layer
by layer, and then in up to N plans (of each kind: image in the arena or pushed, with strips or without) from
the planner's own front. Each stage of these gives one equation: what it executes beyond its operators alone
is the work of planner/estimate.py times instructions per piece of work. They are found with non-negative
least squares on errors relative to the operators alone; those of whole layers in the same way.

Prints and writes how far the fit is off, as a share of the layer by layer instructions: of a stage, as a root
of the mean square, and of each network's plans when everything else makes the fit, at most. Run it again when
kernels change.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tinyml import boards  # noqa: E402
from tinyml.build import Compiled, Planning, compile_model, emulated_firmware, open_target  # noqa: E402
from tinyml.planner import estimate, place_stages  # noqa: E402
from tinyml.planner.lifetimes import Flow  # noqa: E402
from tinyml.planner.plan import Stage  # noqa: E402
from tinyml.planner.stages import StageSearch  # noqa: E402
from tinyml.planner.stream import row_op, stage_calls, strip_starts, whole_width  # noqa: E402
from tinyml.run.profile import Profile, profile  # noqa: E402

BOARD = "mps2-an386"
SHARED = Path(os.environ.get("TINYML_SHARED") or ROOT.parent / "shared") / "models"
MODELS = (
    ROOT / "examples" / "digits" / "digits.tflite",
    ROOT / "examples" / "mobilenetv2" / "mobilenetv2_035_144.tflite",
    *(SHARED / f"{name}.tflite" for name in ("kws", "resnet8", "vww96", "mcunet_vww", "mcunet_det")),
)


@dataclass(frozen=True, slots=True)
class Point:
    """A counted piece of a network: a layer, or what a stage executes beyond its layers.

    `share` is what an error is held against: the instructions of the layers alone.
    """

    network: str
    plan: int  # of the network; 0 layer by layer
    work: Counter[str]
    instructions: int
    share: int


def counted(compiled: Compiled) -> Profile:
    """Build, run and count one inference."""
    rng = np.random.default_rng(0)
    graph = compiled.graph
    inputs = [rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs]
    with tempfile.TemporaryDirectory() as folder:
        open_target(compiled, Path(folder), toolchain="gcc")
        return profile(emulated_firmware(Path(folder), compiled.board), compiled.board, graph.name, inputs)


def measure(path: Path, most: int) -> Iterator[Point]:
    """Yield the layers of a network and the stages of up to `most` plans of each kind."""
    compiled = compile_model(path, boards.load(BOARD), Planning(schedule="layer"))
    graph, selections = compiled.graph, compiled.selections
    alone: dict[int, int] = {}
    for stage, layer in zip(compiled.plan.stages, counted(compiled).layers, strict=True):
        (op,) = stage.ops
        alone[op] = layer.instructions
        work = estimate.layer_work(graph, selections[op])
        yield Point(graph.name, 0, work, layer.instructions, layer.instructions)
    flow = Flow.of(graph, selections)
    seen: set[Stage] = set()
    plans = 0
    for pushed in (None, graph.inputs[0]):
        for strips in (1, 4):
            order = range(len(flow.nodes))
            search = StageSearch(graph, selections, flow, order, pushed=pushed, most_strips=strips)
            front = search.front()
            for cut in front[:: max(-(-len(front) // most), 1)]:
                stages = cut.stages()
                if seen.issuperset(stage for stage in stages if stage.streamed):
                    continue
                seen.update(stages)
                plans += 1
                planned = place_stages(graph, selections, search, stages)
                print(f"{graph.name}: {planned.arena_bytes:,} B", file=sys.stderr)
                layers = counted(dataclasses.replace(compiled, plan=planned)).layers
                for stage, layer in zip(planned.stages, layers, strict=True):
                    if stage.streamed:
                        share = sum(alone[op] for op in stage.ops)
                        work = stage_work(compiled, stage)
                        yield Point(graph.name, plans, work, layer.instructions - share, share)


def stage_work(compiled: Compiled, stage: Stage) -> Counter[str]:
    """Return the work that a stage of a plan adds."""
    graph, selections = compiled.graph, compiled.selections
    calls = stage_calls(graph, selections, dataclasses.replace(stage, small_scratch=False))
    small = stage_calls(graph, selections, stage)
    assert calls is not None
    assert small is not None
    starts = strip_starts(whole_width(graph.tensors[calls[-1].output]).width, stage.strips)
    work: Counter[str] = Counter()
    for call, less in zip(calls, small, strict=True):
        if call.op < 0:
            continue
        whole = row_op(graph, selections[call.op]) or call
        work += estimate.streamed_work(whole, call, stage.strips, max(call.macs_of(starts) - whole.macs, 0))
        if less.scratch_bytes < call.scratch_bytes:
            work += estimate.less_scratch_work(call, stage.strips)
    return work


def fit(points: Sequence[Point]) -> dict[str, float]:
    """Return instructions per piece of work, none below zero, with the least error as a share."""
    names = sorted({name for point in points for name in point.work})
    shares = np.array([point.share for point in points], np.float64)
    works = _matrix(points, names) / shares[:, None]
    wanted = np.array([point.instructions for point in points]) / shares
    active = list(range(len(names)))
    while True:  # leave out what comes out negative, the most negative first
        found = np.linalg.lstsq(works[:, active], wanted, rcond=None)[0]
        if not len(found) or found.min() >= 0:
            break
        active.pop(int(found.argmin()))
    rates = dict.fromkeys(names, 0.0)
    rates.update((names[i], float(f"{rate:.4g}")) for i, rate in zip(active, found, strict=True))
    return rates


def _matrix(points: Sequence[Point], names: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([[point.work[name] for name in names] for point in points], np.float64)


def errors(points: Sequence[Point], rates: dict[str, float]) -> npt.NDArray[np.float64]:
    """Return the error of every point as a share."""
    names = list(rates)
    estimated = _matrix(points, names) @ np.array([rates[name] for name in names])
    wrong = estimated - np.array([point.instructions for point in points])
    return np.asarray(wrong / np.array([point.share for point in points]))


def unseen(points: Sequence[Point], layers: Sequence[Point], network: str) -> float:
    """Return the largest error of a plan of a network when all others make the fit."""
    rates = fit([point for point in points if point.network != network])
    total = sum(layer.instructions for layer in layers if layer.network == network)
    wrong: Counter[int] = Counter()
    for point in points:
        if point.network == network:
            estimated = sum(rates.get(name, 0.0) * amount for name, amount in point.work.items())
            wrong[point.plan] += round(estimated - point.instructions)
    return max((abs(error) / total for error in wrong.values()), default=0.0)


def main() -> None:
    """Fit, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--plans", type=int, default=4, metavar="N", help="of each kind (default 4)")
    parser.add_argument("--write", action="store_true", help="write tinyml/planner/streaming.json")
    arguments = parser.parse_args()
    models = arguments.models or [path for path in MODELS if path.is_file()]
    points = [point for path in models for point in measure(path, arguments.plans)]
    layers, stages = ([p for p in points if (p.plan == 0) == whole] for whole in (True, False))
    whole_layers, streamed = fit(layers), fit(stages)
    networks = list(dict.fromkeys(point.network for point in points))
    compiler = ["arm-none-eabi-gcc", "--version"]
    fitted = {
        "command": "python tools/fit_streaming.py --write",
        "compiler": subprocess.run(compiler, capture_output=True, text=True, check=True).stdout.splitlines()[
            0
        ],
        "board": BOARD,
        "stages": len(stages),
        "stage_error": round(float(np.sqrt(np.square(errors(stages, streamed)).mean())), 4),
        "unseen": {network: round(unseen(stages, layers, network), 4) for network in networks},
        "rates": whole_layers | streamed,
    }
    print(json.dumps(fitted, indent=1))
    if arguments.write:
        estimate.PATH.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
