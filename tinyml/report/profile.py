"""What layers cost, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tinyml.report.units import short_name

_CLASSES = {
    "load": "load",
    "store": "store",
    "mac_simd": "mac",
    "alu": "alu",
    "branch": "branch",
    "other": "other",
}


def layer_costs(layers: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Return a table of layers and, where it shows an estimate, the sentence that says so.

    Args:
        layers: the JSON of infer.LayerCost of each layer, at least one.
    """
    if layers[0]["instructions"] is None:
        return [_board_table(layers)]
    parts: list[RenderableType] = [_emulator_table(layers)]
    if layers[0]["estimated_cycles"] is not None:
        parts.append(Text("~ estimated from published timings of the core, not measured", style="dim"))
    return parts


def _emulator_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    waits = any(layer["estimated_wait_cycles"] for layer in layers)
    priced = layers[0]["estimated_cycles"] is not None
    for heading in ("#", "operator", "kernel"):
        table.add_column(heading, justify="right" if heading == "#" else "left", no_wrap=True)
    headings = ["MACs", "instructions", "/MAC", "share"]
    headings += ["~cycles", "/MAC"] if priced else []
    headings += ["~flash waits"] if waits else []
    for heading in (*headings, *(f"{name} %" for name in _CLASSES.values())):
        table.add_column(heading, justify="right", no_wrap=True)
    total = sum(layer["instructions"] for layer in layers) or 1
    for layer in layers:
        count, macs = layer["instructions"], layer["macs"]
        cells = [f"{macs:,}" if macs else "", f"{count:,}", _ratio(count, macs), f"{count / total:.1%}"]
        cells += [f"{layer['estimated_cycles']:,}", _ratio(layer["estimated_cycles"], macs)] if priced else []
        cells += [f"{layer['estimated_wait_cycles']:,}"] if waits else []
        cells += [f"{100 * layer['classes'][name] / max(count, 1):.0f}" for name in _CLASSES]
        table.add_row(str(layer["index"]), layer["op"], _kernels(layer["kernels"]), *cells)
    return table


def _kernels(symbols: Sequence[str]) -> str:
    """Name a layer's kernel, or how many kernels a streamed stage runs."""
    return symbols[0].removeprefix("tm_") if len(symbols) == 1 else f"{len(symbols)} streamed"


def _board_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("#", "operator", "output", "MACs", "cycles", "per MAC", "share"):
        table.add_column(
            heading, justify="left" if heading in ("operator", "output") else "right", no_wrap=True
        )
    total = sum(layer["cycles"] for layer in layers) or 1
    for layer in layers:
        macs, count = layer["macs"], layer["cycles"]
        table.add_row(
            str(layer["index"]),
            layer["op"],
            Text(short_name(layer["name"])),
            f"{macs:,}" if macs else "",
            f"{count:,}",
            _ratio(count, macs),
            f"{count / total:.1%}",
        )
    return table


def _ratio(count: int, macs: int) -> str:
    return f"{count / macs:.2f}" if macs else ""
