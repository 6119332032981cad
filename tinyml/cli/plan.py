"""`tinyml plan`: what a model costs on a board, without compiling anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.cli.options import board_option, model_argument, output_options, planning_options
from tinyml.cli.output import Output

if TYPE_CHECKING:
    from tinyml.build import Planning


@click.command(
    "plan",
    short_help="Plan the memory; nothing is compiled.",
    epilog="""\b
Example:
  tinyml plan --board stm32f746 model.tflite
  tinyml plan --board stm32f746 --html plan.html model.tflite
  tinyml plan --board stm32f746 --max-sram 32K --max-overhead 5% model.tflite
  tinyml plan --board stm32f746 --json model.tflite | jq .arena_bytes""",
)
@model_argument
@board_option
@planning_options
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the report as a page with a drawing of the memory over time.",
)
@click.option(
    "--draw/--no-draw",
    default=None,
    help="Draw the memory over time.  [default: where every operator has room]",
)
@output_options
def command(
    model: Path, board_id: str, planning: Planning, html: Path | None, draw: bool | None, out: Output
) -> int:
    """Plan the memory: the arena's size and fullest moment, constants, work, and the fit on a board.

    Code and stack are known only after `tinyml build`; here they are null in the JSON. A model that
    does not fit is reported in full too, with exit status 2.
    """
    from tinyml import boards
    from tinyml.build import check_fit, compile_model
    from tinyml.errors import DoesNotFit
    from tinyml.files import write_file
    from tinyml.report.console import render
    from tinyml.report.drawing import MemoryDrawing
    from tinyml.report.html import render_html

    board = boards.load(board_id)
    with out.progress() as progress:
        progress("plan")
        compiled = compile_model(model, board, planning, front=True)
    report = compiled.report()
    if html is not None:
        write_file(html, render_html(report).encode("utf-8", "replace"), option="--html")
    data = report.to_json() | {"plan": compiled.plan.to_json()}
    misfit = None
    try:
        check_fit(compiled)
    except DoesNotFit as error:
        misfit = error
        data |= error.to_json()
    fits = MemoryDrawing(report).fits(out.stdout.width)
    drawing = report.arena_bytes > 0 and (fits if draw is None else draw)
    out.result(data, render(report, drawing=drawing, verbose=out.verbose))
    if html is not None:
        out.note(f"wrote {html}")
    if misfit is None:
        return 0
    if not out.json:
        out.error(misfit)
    return misfit.exit_status
