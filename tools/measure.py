"""Measure networks beside the competition's figures; print the table, or write it into the README.

    python tools/measure.py [--write] model.tflite [model.tflite ...]

For each model: bytes from the build for the real board BOARD, equality of SAMPLES outputs on its emulator
with TensorFlow Lite, and executed instructions on COUNTER, both one operator at a time and with runs of
operators streamed row by row. Models that do not fit the board say so. The competition's figures are in
peers.json, with their provenance.
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
SAMPLES = 8
LAYER, STREAM = Planning(schedule="layer"), Planning(schedule="stream")
HEAD = (
    "| model | arena, layer by layer | arena, streamed | RAM: TFLM, TinyEngine | constants | code |"
    " instructions, layer by layer | streamed | TFLM, TinyEngine | equal outputs |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


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
    parser.add_argument(
        "--write", action="store_true", help="write between the `measured` marks of README.md"
    )
    arguments = parser.parse_args()
    rows = ""
    for path in arguments.models:
        print(f"measuring {path.name}", file=sys.stderr)
        rows += row(path)
    today = datetime.date.today().isoformat()
    caption = (
        f"Bytes for `{BOARD}`: the arena includes input, output and scratch; code includes the validation\n"
        f"firmware around the model. Instructions of one inference, counted in QEMU on `{COUNTER}`\n"
        f"(Cortex-M4). Equal outputs, layer by layer and streamed: random samples on the emulated {BOARD}\n"
        f"(or {COUNTER} where that is too small) against TensorFlow Lite, every byte. Nothing here is\n"
        f"measured on silicon. Peers: {PEERS['provenance']}\n"
        f"tinyml {__version__}, {today}, `python tools/measure.py --write MODEL...`.\n"
    )
    table = f"\n{HEAD}{rows}\n{caption}"
    print(table)
    if arguments.write:
        write_between_marks(README, "measured", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
