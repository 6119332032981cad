"""`tinyml build`: the C project and its firmware."""

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
    toolchain_option,
)
from tinyml.cli.output import Output

if TYPE_CHECKING:
    from tinyml.build import Planning, Toolchain

_PRODUCTS = (".elf", ".bin", ".hex", ".so", ".html")


@click.command(
    "build",
    short_help="Write the C project and its firmware.",
    epilog="""\b
Example:
  tinyml build --board stm32f746 model.tflite
  tinyml build --board stm32f746 --tune model.tflite
  tinyml build --board nrf52840 --toolchain gcc -o firmware model.tflite
  tinyml build --board stm32f746 --json model.tflite | jq .flash.code_bytes""",
)
@model_argument
@board_option
@planning_options
@click.option(
    "--tune",
    is_flag=True,
    help="Measure every kernel that accepts a layer on the emulated core, and keep the fastest.",
)
@toolchain_option
@output_dir_options
@output_options
def command(
    model: Path,
    board_id: str,
    planning: Planning,
    tune: bool,
    toolchain: Toolchain,
    directory: Path | None,
    force: bool,
    out: Output,
) -> None:
    """Plan, generate and compile: a C project with its firmware, and a report of what it costs.

    The report is also written into DIR, as report.json and report.html. DIR is written only when
    everything compiled.
    """
    from tinyml import boards
    from tinyml.build import build, compile_model
    from tinyml.cli.destination import staged
    from tinyml.report.console import render
    from tinyml.tune import tune as tune_kernels

    board = boards.load(board_id)
    with out.progress() as progress:
        progress("plan")
        if tune:
            compiled, _ = tune_kernels(
                model,
                board,
                planning,
                toolchain=toolchain,
                progress=lambda line: progress("tune", detail=line),
            )
        else:
            compiled = compile_model(model, board, planning)
        destination = directory or Path("build", f"{compiled.graph.name}-{board.id}")
        with staged(destination, force=force) as folder:
            report = build(
                compiled,
                folder,
                toolchain=toolchain,
                progress=lambda line: progress("compile", detail=line),
            )
    written = [str(destination / path) for path in report.files]
    shown = written if out.verbose else [path for path in written if path.endswith(_PRODUCTS)]
    out.result(
        report.to_json() | {"directory": str(destination), "files": written},
        render(report, verbose=out.verbose),
        Text(),
        Text(f"wrote {destination} ({len(written)} files)"),
        *(Text(f"  {path}") for path in shown),
    )
