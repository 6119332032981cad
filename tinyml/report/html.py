"""The report as one HTML file: no scripts, no fonts, nothing loaded from elsewhere.

The drawing shows the arena as an engineer thinks of it: time from left to right (one column per
stage), bytes from bottom to top, one rectangle per buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import jinja2

from tinyml import __version__, resources
from tinyml.report.model import BufferUse, BuildReport
from tinyml.report.units import short_name, size

_WIDTH, _HEIGHT = 960.0, 340.0  # the plot's area in SVG units
_LEFT, _TOP, _BOTTOM = 74.0, 12.0, 40.0
_COLOURS = 8
_CHARACTER_WIDTH = 6.5
_LABEL_WIDTH, _LABEL_HEIGHT = 62.0, 13.0  # smallest rectangle that carries its name


def render_html(report: BuildReport) -> str:
    """Return the report as a self-contained HTML page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.codegen_dir() / "templates" / "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = size
    environment.filters["short_name"] = short_name
    return environment.get_template("report.html.j2").render(
        report=report,
        version=__version__,
        chart=_chart(report),
        most_macs=max((layer.macs for layer in report.layers), default=0) or 1,
        memories=tuple(
            (name, fit, 100 * min(fit.used_bytes / max(fit.available_bytes, 1), 1.0))
            for name, fit in (("SRAM", report.sram_fit), ("flash", report.flash_fit))
            if fit.available_bytes is not None
        ),
    )


@dataclass(frozen=True, slots=True)
class _Rectangle:
    x: float
    y: float
    width: float
    height: float
    style: str
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class _Chart:
    width: float
    height: float
    left: float
    right: float
    base: float
    rectangles: tuple[_Rectangle, ...]
    byte_ticks: tuple[tuple[float, str], ...]
    stage_ticks: tuple[tuple[float, str], ...]
    peak_x: float
    peak_width: float
    bound_y: float


def _chart(report: BuildReport) -> _Chart | None:
    stages = len(report.stages)
    if not stages or not report.arena_bytes:
        return None
    column = _WIDTH / stages
    scale = _HEIGHT / report.arena_bytes
    base = _TOP + _HEIGHT

    def rectangle(index: int, buffer: BufferUse) -> _Rectangle:
        width = (buffer.last - buffer.first + 1) * column
        height = buffer.bytes * scale
        labelled = buffer.kind != "scratch" and width >= _LABEL_WIDTH and height >= _LABEL_HEIGHT
        return _Rectangle(
            x=_LEFT + buffer.first * column,
            y=base - (buffer.offset + buffer.bytes) * scale,
            width=width,
            height=height,
            style="scratch" if buffer.kind == "scratch" else f"c{index % _COLOURS}",
            label=short_name(buffer.name, int(width / _CHARACTER_WIDTH)) if labelled else "",
            title=f"{buffer.name} ({buffer.kind}): {buffer.bytes:,} bytes at {buffer.offset:,}, "
            f"stages {buffer.first} to {buffer.last}",
        )

    # In the order of birth, so that neighbours in time differ in colour.
    ordered = sorted(report.buffers, key=lambda b: (b.first, b.offset))
    step = max(1, -(-stages // 24))
    return _Chart(
        width=_LEFT + _WIDTH + 12,
        height=base + _BOTTOM,
        left=_LEFT,
        right=_LEFT + _WIDTH,
        base=base,
        rectangles=tuple(rectangle(i, buffer) for i, buffer in enumerate(ordered)),
        byte_ticks=tuple((base - value * scale, size(value)) for value in _ticks(report.arena_bytes)),
        stage_ticks=tuple(
            (_LEFT + (i + 0.5) * column, str(report.stages[i][0])) for i in range(0, stages, step)
        ),
        peak_x=_LEFT + (report.peak.stage if report.peak else 0) * column,
        peak_width=column,
        bound_y=base - report.lower_bound_bytes * scale,
    )


def _ticks(top: int) -> list[int]:
    """Up to six round numbers of bytes from 0 to `top`."""
    step = 1
    while top > 5 * step:
        step *= 2
    return list(range(0, top + 1, step))
