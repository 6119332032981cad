"""What the measuring scripts share: peers' figures, a build that ran and was compared, tables in pages."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyml import boards
from tinyml.build import Compiled, Planning, compile_model, emulated_firmware, open_target
from tinyml.run.profile import profile
from tinyml.verify import sample_inputs, verify

ROOT = Path(__file__).resolve().parent.parent
PEERS: dict[str, Any] = json.loads((ROOT / "tools" / "peers.json").read_text())


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A build that ran: the planned model, samples compared, samples with every byte equal, instructions."""

    compiled: Compiled
    samples: int
    equal: int
    instructions: int | None = None


def run_build(path: Path, board_id: str, planning: Planning, *, samples: int, count: bool = False) -> Built:
    """Generate, compile and run a model, and compare it with TensorFlow Lite.

    Args:
        path: a .tflite file.
        board_id: the host, or a board with an emulator or an emulated twin.
        planning: how to plan.
        samples: random ones to compare.
        count: also count the instructions of one inference, in an emulator.

    Raises:
        DoesNotFit: the board is too small.
    """
    board = boards.load(board_id)
    compiled = compile_model(path, board, planning)
    with tempfile.TemporaryDirectory() as folder:
        with open_target(compiled, Path(folder, "project"), toolchain="gcc") as target:
            report = verify(path, target, samples=samples)
        instructions = None
        runner = board.emulated()
        if count and runner is not None:
            inputs = sample_inputs(path, compiled.graph, data=None, seed=0, index=0)
            elf = emulated_firmware(Path(folder, "project"), runner)
            instructions = profile(elf, runner, compiled.graph.name, inputs).instructions
    return Built(compiled, report.samples, report.samples - report.mismatched_samples, instructions)


def write_between_marks(page: Path, mark: str, text: str) -> None:
    """Replace what stands between `<!-- mark:begin -->` and `<!-- mark:end -->` in a Markdown page.

    Raises:
        ValueError: the page has no such marks.
    """
    marks = rf"(<!-- {mark}:begin -->\n).*?(<!-- {mark}:end -->)"
    replaced, found = re.subn(
        marks, lambda m: f"{m[1]}{text}{m[2]}", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    if found != 1:
        raise ValueError(f"{page} has {found} places marked {mark}")
    page.write_text(replaced, encoding="utf-8")
