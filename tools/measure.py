"""Measure networks and write the table of the README, between its `measured` marks.

    python tools/measure.py model.tflite [model.tflite ...]

For each model: bytes from the build for --board (real board), equality of --samples outputs on its
emulator, and executed instructions on --counter. Models that do not fit the board say so.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import tempfile
from pathlib import Path

from tinyml import __version__, boards
from tinyml.build import Compiled, build, compile_model, open_target
from tinyml.errors import DoesNotFit
from tinyml.infer import infer
from tinyml.verify import verify

README = Path(__file__).resolve().parent.parent / "README.md"
BOARD = "stm32f746"
COUNTER = "mps2-an386"
SAMPLES = 8
HEAD = (
    "| model | MACs | arena | constants | code | stack | instructions | equal outputs |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|\n"
)


def row(path: Path) -> str:
    """Return a model's line of the table."""
    board = boards.load(BOARD)
    compiled = compile_model(path, board)
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = build(compiled, Path(folder, "build"), toolchain="gcc")
            cells = [
                f"{report.arena_bytes:,}",
                f"{report.flash.weights_bytes:,}",
                f"{report.flash.code_bytes:,}",
                f"{report.ram.stack_bytes:,}",
            ]
            equal = verified(compiled, Path(folder, "verify"))
        except DoesNotFit:
            cells = [f"{compiled.plan.arena_bytes:,}", f"{compiled.context().constant_bytes:,}", "–", "–"]
            equal = "does not fit"
        counted = compile_model(path, boards.load(COUNTER))
        profile = infer(counted, Path(folder, "profile"), toolchain="gcc", profile=True)
    cells = [compiled.graph.name, f"{compiled.plan.macs:,}", *cells, f"{profile.instructions:,}", equal]
    return "| " + " | ".join(cells) + " |\n"


def verified(compiled: Compiled, folder: Path) -> str:
    """Return how many of SAMPLES random samples are equal on the board's emulator."""
    with open_target(compiled, folder, toolchain="gcc") as target:
        report = verify(compiled.source, target, samples=SAMPLES)
    return f"{report.samples - report.mismatched_samples} of {report.samples}"


def main() -> int:
    """Measure, and write the table into the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    arguments = parser.parse_args()
    rows = ""
    for path in arguments.models:
        print(f"measuring {path.name}", file=sys.stderr)
        rows += row(path)
    today = datetime.date.today().isoformat()
    caption = (
        f"Bytes from the firmware built for `{BOARD}`: the arena includes input, output and scratch; code\n"
        "includes the validation firmware around the model. Instructions of one inference, counted in QEMU\n"
        f"on `{COUNTER}` (Cortex-M4). Equal outputs: random samples on the emulated {BOARD} against\n"
        "TensorFlow Lite, every byte. Nothing here is measured on silicon.\n"
        f"tinyml {__version__}, {today}, `python tools/measure.py MODEL...`.\n"
    )
    text = README.read_text(encoding="utf-8")
    begin, end = "<!-- measured:begin -->", "<!-- measured:end -->"
    pattern = re.compile(f"{begin}.*?{end}", re.DOTALL)
    if not pattern.search(text):
        print(f"{README.name} has no marks {begin} and {end}", file=sys.stderr)
        return 1
    table = f"{begin}\n{HEAD}{rows}\n{caption}{end}"
    README.write_text(pattern.sub(lambda _: table, text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
