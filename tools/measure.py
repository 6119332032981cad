"""Measure networks beside the competition's figures; print the table, or write it into the README.

    python tools/measure.py [--write] [--helium] model.tflite [model.tflite ...]

For each model: bytes from the build for the real board BOARD, equality of SAMPLES outputs on its emulator
with TensorFlow Lite, and executed instructions on COUNTER, both one operator at a time and with runs of
operators streamed row by row. Models that do not fit the board say so. The competition's figures are in
peers.json, with their provenance. With --helium the table is that of the Cortex-M55: arena, instructions and
equality on HELIUM, one operator at a time.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from figures import PEERS, ROOT, run_build, write_between_marks

from tinyml import __version__, boards
from tinyml.build import Planning, build, compile_model
from tinyml.errors import DoesNotFit
from tinyml.infer import infer

README = ROOT / "README.md"
BOARD = "stm32f746"
COUNTER = "mps2-an386"
HELIUM = "mps3-an547"
SAMPLES = 8
LAYER, STREAM = Planning(schedule="layer"), Planning(schedule="stream")
HEAD = (
    "| model | arena, layer by layer | arena, streamed | RAM: TFLM, TinyEngine | constants | code |"
    " instructions, layer by layer | streamed | TFLM, TinyEngine | equal outputs |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)
HELIUM_HEAD = (
    "| model | multiply-accumulates | arena | constants | code | instructions | per multiply-accumulate |"
    " TFLM | equal outputs |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


def helium_row(path: Path) -> str:
    """Return a model's line of the Cortex-M55's table."""
    compiled = compile_model(path, boards.load(HELIUM), LAYER)
    name, plan = compiled.graph.name, compiled.plan
    peer = PEERS["models"].get(name, {}).get("tflm", {}).get("instructions_m55")
    cells = [name, f"{plan.macs:,}", f"{plan.arena_bytes:,}", f"{compiled.context().constant_bytes:,}"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            code = build(compiled, Path(folder), toolchain="gcc").flash.code_bytes
            built = run_build(path, HELIUM, LAYER, samples=SAMPLES, count=True)
            assert built.instructions is not None
            cells += [f"{code:,}", f"{built.instructions:,}", f"{built.instructions / plan.macs:.2f}"]
            equal = f"{built.equal} of {built.samples}"
        except DoesNotFit:
            cells += ["–", "–", "–"]
            equal = "does not fit"
    return "| " + " | ".join([*cells, f"{peer:,}" if peer else "–", equal]) + " |\n"


def row(path: Path) -> str:
    """Return a model's line of the table."""
    board, counter = boards.load(BOARD), boards.load(COUNTER)
    layered, streamed = compile_model(path, board, LAYER), compile_model(path, board, STREAM)
    name = layered.graph.name
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = build(layered, Path(folder, "build"), toolchain="gcc")
            code = f"{report.flash.code_bytes:,}"
        except DoesNotFit:
            code = "–"
        instructions = [
            infer(compile_model(path, counter, p), Path(folder, p.schedule), toolchain="gcc", profile=True)
            for p in (LAYER, STREAM)
        ]
        cells = [
            name,
            f"{layered.plan.arena_bytes:,}",
            f"{streamed.plan.arena_bytes:,}",
            _peers(name, "ram_bytes"),
            f"{layered.context().constant_bytes:,}",
            code,
            *(f"{counted.instructions:,}" for counted in instructions),
            _peers(name, "instructions"),
            _equal(path),
        ]
    return "| " + " | ".join(cells) + " |\n"


def _peers(name: str, figure: str) -> str:
    known = PEERS["models"].get(name, {})
    figures = [f"{known[peer][figure]:,}" if peer in known else "–" for peer in ("tflm", "tinyengine")]
    return ", ".join(figures) if known else "–"


def _equal(path: Path) -> str:
    """Return how many of SAMPLES random samples are equal on an emulator, under both schedules."""
    found = []
    for planning in (LAYER, STREAM):
        try:
            built = run_build(path, BOARD, planning, samples=SAMPLES)
        except DoesNotFit:
            built = run_build(path, COUNTER, planning, samples=SAMPLES)  # has room for everything
        found.append(f"{built.equal} of {built.samples}")
    return ", ".join(found)


def main() -> int:
    """Measure, and print the table or write it into the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="write between the marks of README.md")
    parser.add_argument("--helium", action="store_true", help="the table of the Cortex-M55 instead")
    arguments = parser.parse_args()
    rows = ""
    for path in arguments.models:
        print(f"measuring {path.name}", file=sys.stderr)
        rows += helium_row(path) if arguments.helium else row(path)
    today = datetime.date.today().isoformat()
    if arguments.helium:
        head, name, option = HELIUM_HEAD, "helium", " --helium"
        caption = (
            f"The same for `{HELIUM}` (Cortex-M55, Helium kernels) in QEMU, one operator at a time.\n"
            "TFLM is TensorFlow Lite Micro with CMSIS-NN on the same emulated machine.\n"
        )
    else:
        head, name, option = HEAD, "measured", ""
        caption = (
            f"Bytes for `{BOARD}`: the arena includes input, output and scratch; code includes the\n"
            f"validation firmware around the model. Instructions of one inference, counted in QEMU on\n"
            f"`{COUNTER}` (Cortex-M4). Equal outputs, layer by layer and streamed: random samples on the\n"
            f"emulated {BOARD} (or {COUNTER} where that is too small) against TensorFlow Lite, every byte.\n"
            f"Nothing here is measured on silicon. Peers: {PEERS['provenance']}\n"
        )
    caption += f"tinyml {__version__}, {today}, `python tools/measure.py{option} --write MODEL...`.\n"
    table = f"\n{head}{rows}\n{caption}"
    print(table)
    if arguments.write:
        write_between_marks(README, name, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
