"""`tinyml doctor`: what is installed, what is missing, and the command that installs it."""

from __future__ import annotations

import dataclasses

import click
from rich.table import Table
from rich.text import Text

from tinyml.cli.options import output_options
from tinyml.cli.output import Output
from tinyml.errors import ToolchainError


@click.command(
    "doctor",
    short_help="Check what is installed on this machine.",
    epilog="""\b
Example:
  tinyml doctor
  tinyml doctor --json | jq -r '.checks[] | select(.ok | not) | .fix'""",
)
@output_options
def command(out: Output) -> int:
    """Check this machine: Python packages, compilers, emulator, serial ports.

    Exit status 3 where something needed is missing; the last column is the command that installs it.
    """
    from tinyml.toolchain.doctor import Check, checks

    with out.progress() as progress:
        found: list[Check] = []
        for check in checks():
            progress("check this machine", len(found), len(found) + 1)
            found.append(check)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("", "what", "found", "needed for", "install it with"):
        table.add_column(heading, no_wrap=heading in ("", "what"), overflow="fold")
    for check in found:
        sign, style = ("✓", "green") if check.ok else ("!", "yellow") if check.optional else ("✗", "red")
        table.add_row(Text(sign, style=style), check.name, check.detail, check.needed_for, check.fix)
    healthy = all(check.ok or check.optional for check in found)
    out.result({"ok": healthy, "checks": [dataclasses.asdict(check) for check in found]}, table)
    return 0 if healthy else ToolchainError.exit_status
