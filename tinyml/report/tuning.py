"""What tuning measured, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def render_tuning(tuned: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return the layers whose kernel tuning has changed, and what it saves.

    Args:
        tuned: the JSON of tune.Tuned of each operator that had a choice.
    """
    changed = [choice for choice in tuned if choice["kernel"] != choice["first_choice"]]
    saved = sum(choice["saved"] for choice in changed)
    if not changed:
        return Text(
            f"tuned: the first choice is the fastest kernel of all {len(tuned)} layers that have several"
        )
    first = tuned[0]["measured"][0]
    unit = "instructions" if first["estimated_cycles"] is None else "estimated cycles"
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("#", "operator", "kernel", unit, "instead of", unit):
        table.add_column(heading, justify="right" if heading in ("#", unit) else "left", no_wrap=True)
    for choice in changed:
        figures = {m["kernel"]: m["estimated_cycles"] or m["instructions"] for m in choice["measured"]}
        table.add_row(
            str(choice["op"]),
            choice["operator"],
            choice["kernel"],
            f"{figures[choice['kernel']]:,}",
            choice["first_choice"],
            f"{figures[choice['first_choice']]:,}",
        )
    heading = f"tuned: {len(changed)} of {len(tuned)} layers run another kernel, {saved:,} {unit} less"
    return Group(Text(heading, style="bold"), table)
