"""`tinyml boards`: what can be built for, and what was really run."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from tinyml.cli.options import SizeType, output_options
from tinyml.cli.output import Output


@click.command(
    "boards",
    short_help="List the boards, and what was really run.",
    epilog="""\b
Example:
  tinyml boards
  tinyml boards --min-ram 256K
  tinyml boards --json | jq '.boards[].id'""",
)
@click.option(
    "--min-ram", type=SizeType(), default=0, metavar="SIZE", help="Only boards with that much for an arena."
)
@output_options
def command(min_ram: int, out: Output) -> None:
    """List the boards: core, memories, clock, emulator, and what was really run on them.

    SRAM is what an arena may take: the board's RAM less its reserves for stack and static data.
    "emulated" means that firmware ran in an emulator of that machine or of its twin; "compiled" that
    it was compiled and linked only. No board here was run on silicon unless it says "measured".
    """
    from tinyml import boards
    from tinyml.report.units import size

    found = [
        board for board in boards.all_boards() if board.sram_bytes is None or board.sram_bytes >= min_ram
    ]
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("id", "board", "core", "MHz", "SRAM", "flash", "emulator", "evidence"):
        right = heading in ("MHz", "SRAM", "flash")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for board in found:
        emulated = board.emulated()
        table.add_row(
            Text(board.id, style="bold"),
            Text(board.name),
            board.core,
            f"{board.clock_hz / 1e6:g}" if board.clock_hz else "",
            size(board.sram_bytes) if board.sram_bytes is not None else "",
            size(board.flash_bytes) if board.flash_bytes is not None else "",
            emulated.emulator.machine if emulated and emulated.emulator else "",
            _evidence({what: evidence.level for what, evidence in board.evidence.items()}),
        )
    out.result({"boards": [board.to_json() for board in found]}, table)


def _evidence(levels: dict[str, str]) -> str:
    """Group what was run by how: "emulated: inference; compiled: clock, uart"."""
    strongest_first = ("measured", "host", "emulated", "compiled")
    return "; ".join(
        f"{level}: {', '.join(what for what, at in levels.items() if at == level)}"
        for level in strongest_first
        if level in levels.values()
    )
