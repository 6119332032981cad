"""`tinyml verify`: does the firmware compute the reference's bytes?"""

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
    "verify",
    short_help="Compare every output byte with TensorFlow Lite.",
    epilog="""\b
Example:
  tinyml verify --board stm32f746 model.tflite
  tinyml verify --board host --data test.npz model.tflite
  tinyml verify --board stm32f746 --port /dev/ttyACM0 --samples 100 --data test.npz model.tflite""",
)
@model_argument
@board_option
@port_option
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="How many.  [default: all of --data, or 8 random ones]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .npz with x [N, ...] (x0, x1, ... for several inputs) and, optionally, labels y [N].",
)
@seed_option
@planning_options
@toolchain_option
@output_options
def command(
    model: Path,
    board_id: str,
    port: str | None,
    samples: int | None,
    data: Path | None,
    seed: int,
    planning: Planning,
    toolchain: Toolchain,
    out: Output,
) -> int:
    """Run samples and compare every output byte with LiteRT's reference kernels.

    ONNX networks are compared with tinyml's own reference, and that with onnxruntime: see docs/onnx.md.

    On a mismatch the first layer that differs is named, and the exit status is 1. With labels, correct
    answers are counted too. Without --port a board's emulator runs the firmware.
    """
    from tinyml import boards
    from tinyml.build import compile_model, open_target
    from tinyml.errors import MismatchError
    from tinyml.report.console import render_verification
    from tinyml.verify import verify

    board = boards.load(board_id)
    with out.progress() as progress, tempfile.TemporaryDirectory(prefix="tinyml-") as folder:
        progress("plan")
        compiled = compile_model(model, board, planning)
        progress("build")
        opened = open_target(
            compiled,
            Path(folder),
            port=port,
            toolchain=toolchain,
            progress=lambda line: progress("build", detail=line),
        )
        progress("verify")
        with opened as target:
            report = verify(
                model,
                target,
                samples=samples,
                data=data,
                seed=seed,
                edges=planning.edges,
                progress=lambda done, total: progress("verify", done, total),
            )
            ran_on = target.info.board
    result = report.to_json() | {"model": compiled.graph.name, "board": board.id, "target": ran_on}
    description = report.first_mismatch.describe() if report.first_mismatch else ""
    out.result(result, render_verification(result, description))
    return MismatchError.exit_status if report.mismatched_samples else 0
