"""`tinyml generate`: the C project, not compiled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from tinyml.cli.options import (
    board_option,
    model_argument,
    output_dir_options,
    output_options,
    planning_options,
)
from tinyml.cli.output import Output

if TYPE_CHECKING:
    from tinyml.build import Planning


@click.command(
    "generate",
    short_help="Write the C project.",
    epilog="""\b
Example:
  tinyml generate --board stm32f746 -o firmware model.tflite
  cd firmware && pio run""",
)
@model_argument
@board_option
@planning_options
@output_dir_options
@output_options
def command(
    model: Path, board_id: str, planning: Planning, directory: Path | None, force: bool, out: Output
) -> None:
    """Write a C project that stands alone: model, the kernels it uses, start-up code and a README.

    Needs no compiler. DIR is written only when the whole project is there.
    """
    from tinyml import boards
    from tinyml.build import compile_model, generate
    from tinyml.cli.destination import staged
    from tinyml.report.console import render

    board = boards.load(board_id)
    with out.progress() as progress:
        progress("plan")
        compiled = compile_model(model, board, planning)
        destination = directory or Path("build", f"{compiled.graph.name}-{board.id}")
        progress("generate")
        with staged(destination, force=force) as folder:
            files = [path.relative_to(folder) for path in generate(compiled, folder)]
    report = compiled.report()
    written = [str(destination / path) for path in files]
    out.result(
        report.to_json() | {"directory": str(destination), "files": written},
        render(report, verbose=out.verbose),
        Text(),
        Text(f"wrote {destination} ({len(written)} files)"),
        *(Text(f"  {path}") for path in written if out.verbose),
    )
