"""`tinyml flash`: build and upload."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from tinyml.cli.options import board_option, model_argument, output_options, planning_options
from tinyml.cli.output import Output

if TYPE_CHECKING:
    from tinyml.build import Planning


@click.command(
    "flash",
    short_help="Build the firmware and upload it to a board.",
    epilog="""\b
Example:
  tinyml flash --board stm32f746 model.tflite
  tinyml verify --board stm32f746 --port /dev/ttyACM0 model.tflite""",
)
@model_argument
@board_option
@click.option("--port", metavar="PORT", help="Upload port, where the board's uploader wants one.")
@planning_options
@output_options
def command(model: Path, board_id: str, port: str | None, planning: Planning, out: Output) -> None:
    """Build the validation firmware and upload it with PlatformIO and the board's own uploader.

    Not run on silicon yet: uploading was tried on emulated boards only.
    """
    from tinyml import boards
    from tinyml.build import compile_model, flash

    board = boards.load(board_id)
    with out.progress() as progress, tempfile.TemporaryDirectory(prefix="tinyml-") as folder:
        progress("plan")
        compiled = compile_model(model, board, planning)
        progress("build and upload")
        flash(
            compiled,
            Path(folder),
            port=port,
            progress=lambda line: progress("build and upload", detail=line),
        )
    result = {"model": compiled.graph.name, "board": board.id, "port": port, "flashed": True}
    out.result(result, Text(f"flashed {compiled.graph.name} onto {board.name}"))
