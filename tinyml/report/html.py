"""The report as one HTML file, and its drawing as one SVG file: no scripts, no fonts, nothing loaded.

The drawing shows the arena as an engineer thinks of it: time from left to right (one column per operator,
so that a streamed stage is as wide as its operators), bytes from bottom to top, one rectangle per buffer.
Where an output overwrites a dying input, a diagonal shows how the bytes pass from one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import jinja2

from tinyml import __version__, resources
from tinyml.report.model import BufferUse, BuildReport
from tinyml.report.timeline import Handover, by_birth, division, handovers, is_streamed, stage_edges
from tinyml.report.units import short_name, size

_WIDTH, _HEIGHT = 960.0, 340.0  # the plot's area in SVG units
_LEFT, _RIGHT, _BOTTOM = 74.0, 60.0, 96.0
_LEGEND_Y, _TOP, _TITLE_HEIGHT = 14.0, 46.0, 22.0
_COLOURS = 8
_CHARACTER_WIDTH = 6.6
_LABEL_WIDTH, _LABEL_HEIGHT = 62.0, 13.0  # smallest rectangle that carries its name
_STAGE_LABEL_WIDTH = 12.0  # smallest distance of labels below the axis
_LEGEND = {
    "tensor": "tensor",
    "ring": "ring: the last rows of a tensor",
    "scratch": "scratch",
    "state": "state of a streamed stage",
}
_NAMELESS = ("scratch", "state")


def render_html(report: BuildReport) -> str:
    """Return the report as a self-contained HTML page."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            version=__version__,
            chart=_chart(report, ""),
            most_macs=max((layer.macs for layer in report.layers), default=0) or 1,
            memories=tuple(
                (name, fit, 100 * min(fit.used_bytes / max(fit.available_bytes, 1), 1.0))
                for name, fit in (("SRAM", report.sram_fit), ("flash", report.flash_fit))
                if fit.available_bytes is not None
            ),
        )
    )


def render_svg(report: BuildReport, title: str = "") -> str:
    """Return the drawing of the memory over time as an SVG file.

    Args:
        report: of a plan with at least one stage.
        title: a line above it.
    """
    return _environment().get_template("memory.svg.j2").render(chart=_chart(report, title))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.codegen_dir() / "templates" / "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = size
    environment.filters["short_name"] = short_name
    environment.filters["px"] = lambda value: f"{value:.6f}".rstrip("0").rstrip(".")
    return environment


@dataclass(frozen=True, slots=True)
class _Rectangle:
    x: float
    y: float
    width: float
    height: float
    style: str
    label: str
    label_x: float
    title: str
    is_ring: bool


@dataclass(frozen=True, slots=True)
class _Triangle:
    """The part of a stage's time and of shared bytes in which they are still the input's."""

    points: str
    style: str


@dataclass(frozen=True, slots=True)
class _StageMark:
    x: float
    width: float
    label: str
    title: str
    streamed: bool


@dataclass(frozen=True, slots=True)
class _Chart:
    title: str
    width: float
    height: float
    left: float
    right: float
    top: float
    base: float
    legend_y: float
    legend: tuple[tuple[float, str, str], ...]
    rectangles: tuple[_Rectangle, ...]
    handovers: tuple[_Triangle, ...]
    byte_ticks: tuple[tuple[float, str], ...]
    stages: tuple[_StageMark, ...]
    peak_x: float
    peak_width: float
    peak_label: str
    peak_label_x: float
    peak_anchor: str
    bound_y: float
    bound_label: str


def _chart(report: BuildReport, title: str) -> _Chart | None:
    if not report.stages or not report.arena_bytes:
        return None
    edges = stage_edges(report)
    column = _WIDTH / edges[-1]
    scale = _HEIGHT / report.arena_bytes
    shift = _TITLE_HEIGHT if title else 0.0
    base = shift + _TOP + _HEIGHT
    ordered = by_birth(report)
    styles = {b: b.kind if b.kind in _NAMELESS else f"c{i % _COLOURS}" for i, b in enumerate(ordered)}

    taking = {handover.output for handover in handovers(report)}

    def left_of(stage: int) -> float:
        return _LEFT + edges[stage] * column

    def rectangle(buffer: BufferUse) -> _Rectangle:
        width = left_of(buffer.last + 1) - left_of(buffer.first)
        height = buffer.bytes * scale
        # The name stands where the bytes are the buffer's own.
        name_x = left_of(buffer.first + (buffer in taking and buffer.last > buffer.first))
        room = left_of(buffer.first) + width - name_x
        labelled = buffer.kind not in _NAMELESS and room >= _LABEL_WIDTH and height >= _LABEL_HEIGHT
        return _Rectangle(
            x=left_of(buffer.first),
            y=base - (buffer.offset + buffer.bytes) * scale,
            width=width,
            height=height,
            style=styles[buffer],
            label=short_name(buffer.name, int(room / _CHARACTER_WIDTH) - 1) if labelled else "",
            label_x=name_x,
            title=f"{buffer.name} ({buffer.kind}): {buffer.bytes:,} bytes at {buffer.offset:,}, "
            f"stages {buffer.first} to {buffer.last}",
            is_ring=buffer.kind == "ring",
        )

    def triangle(handover: Handover) -> _Triangle:
        x, end = left_of(handover.stage), left_of(handover.stage + 1)
        low, high = base - handover.low * scale, base - handover.high * scale
        corners = ((x, low), (x, high), (end, high if handover.rising else low))
        return _Triangle(" ".join(f"{a:.2f},{b:.2f}" for a, b in corners), styles[handover.source])

    kinds = [kind for kind in _LEGEND if any(buffer.kind == kind for buffer in ordered)]
    legend, x = [], _LEFT
    for kind in kinds:
        legend.append((x, kind, _LEGEND[kind]))
        x += 44 + _CHARACTER_WIDTH * len(_LEGEND[kind])
    peak = report.peak.stage if report.peak else 0
    peak_width = left_of(peak + 1) - left_of(peak)
    right_half = left_of(peak) > _LEFT + _WIDTH / 2
    return _Chart(
        title=title,
        width=_LEFT + _WIDTH + _RIGHT,
        height=base + _BOTTOM,
        left=_LEFT,
        right=_LEFT + _WIDTH,
        top=shift + _TOP,
        base=base,
        legend_y=shift + _LEGEND_Y,
        legend=tuple(legend),
        rectangles=tuple(rectangle(buffer) for buffer in ordered),
        handovers=tuple(triangle(handover) for handover in handovers(report)),
        byte_ticks=tuple((base - value * scale, size(value)) for value in _ticks(report.arena_bytes)),
        stages=_stage_marks(report, column),
        peak_x=left_of(peak),
        peak_width=peak_width,
        peak_label=f"peak {report.arena_bytes:,} B",
        peak_label_x=left_of(peak) + (peak_width if right_half else 0),
        peak_anchor="end" if right_half else "start",
        bound_y=base - report.lower_bound_bytes * scale,
        bound_label=f"lower bound of this schedule {report.lower_bound_bytes:,} B",
    )


def _stage_marks(report: BuildReport, column: float) -> tuple[_StageMark, ...]:
    """Return the stages below the axis, named where there is room."""
    names = {layer.index: _short(layer.op) for layer in report.layers}
    marks = []
    free = 0.0
    for stage, ops in enumerate(report.stages):
        x, width = _LEFT + stage_edges(report)[stage] * column, len(ops) * column
        streamed = is_streamed(report, stage)
        numbers = f"{ops[0]}–{ops[-1]}" if len(ops) > 1 else f"{ops[0]}"
        how = division(report, stage) or "streamed"
        label = f"{numbers} {how if streamed else names[ops[0]]}"
        shown = x + width / 2 >= free
        if shown:
            free = x + width / 2 + _STAGE_LABEL_WIDTH
        title = f"stage {stage}: " + ", ".join(f"{op} {names[op]}" for op in ops)
        title += f"; {how}" if streamed else ""
        marks.append(_StageMark(x, width, label if shown else "", title, streamed))
    return tuple(marks)


def _short(op: str) -> str:
    return op.lower().removesuffix("_2d").replace("depthwise_conv", "depthwise").replace("_", " ")


def _ticks(top: int) -> list[int]:
    """Up to six round numbers of bytes from 0 to `top`."""
    step = 1
    while top > 5 * step:
        step *= 2
    return list(range(0, top + 1, step))
