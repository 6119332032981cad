"""`tinyml run`: one inference."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.cli.options import (
    board_option,
    model_argument,
    output_options,
    planning_options,
    port_option,
    seed_option,
    toolchain_option,
)
from tinyml.cli.output import Output

if TYPE_CHECKING:
    from tinyml.build import Planning, Toolchain


@click.command(
    "run",
    short_help="Run one inference on the host, an emulator or a board.",
    epilog="""\b
Example:
  tinyml run --board host --input x.npy model.tflite
  tinyml run --board mps2-an386 --profile model.tflite
  tinyml run --board nrf52840 --port /dev/ttyACM0 --profile model.tflite
  tinyml run --board mps2-an386 --profile --json model.tflite | jq .instructions""",
)
@model_argument
@board_option
@port_option
@click.option(
    "--input",
    "data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Samples: a .npy array, or a .npz with x (x0, x1, ... for several inputs). Float values are "
    "quantised where the input is int8. Without it the values are random.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Which sample of the file, or of the random ones.",
)
@seed_option
@click.option(
    "--profile",
    is_flag=True,
    help="Count per layer: instructions in an emulator, with their classes and estimated cycles; cycles on a "
    "board.",
)
@planning_options
@toolchain_option
@output_options
def command(
    model: Path,
    board_id: str,
    port: str | None,
    data: Path | None,
    sample: int,
    seed: int,
    profile: bool,
    planning: Planning,
    toolchain: Toolchain,
    out: Output,
) -> None:
    """Run one inference: on this computer (--board host), on a board's emulator, or on a board (--port).

    A board on a port must have been flashed with this model (`tinyml flash`). Instruction counts are
    exact and repeatable; an emulator knows no cycles, so those are estimated from the core's timings.
    """
    from tinyml import boards
    from tinyml.build import compile_model
    from tinyml.infer import infer
    from tinyml.report.console import render_inference

    board = boards.load(board_id)
    with out.progress() as progress, tempfile.TemporaryDirectory(prefix="tinyml-") as folder:
        progress("plan")
        compiled = compile_model(model, board, planning)
        progress("build and run")
        report = infer(
            compiled,
            Path(folder),
            data=data,
            sample=sample,
            seed=seed,
            port=port,
            toolchain=toolchain,
            profile=profile,
            progress=lambda line: progress("build and run", detail=line),
        )
    result = report.to_json()
    names = ("instructions", "estimated_cycles", "estimated_wait_cycles", "cycles", "stack_free")
    costs = {name: result[name] for name in names}
    outputs = [(output["name"], output["real"]) for output in result["outputs"]]
    out.result(result, render_inference(outputs, costs, result["layers"]))
