"""Draw the pictures of docs/memory.md into docs/images.

    python tools/draw_memory.py [FOLDER]

Drawings of whole networks are plans as the planner makes them today. The others are small examples whose
order of calls, rows, columns and bytes are computed here, by the rules that the page explains; only the
one of squeeze-and-excite is a sketch.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from tinyml import boards
from tinyml.access import AccessMap, RowMap
from tinyml.build import Planning, compile_model
from tinyml.report.html import render_svg

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
BOARD = "stm32f746"
DIGITS = ROOT / "examples" / "digits" / "digits.tflite"
MOBILENET = ROOT / "examples" / "mobilenetv2" / "mobilenetv2_035_144.tflite"
STYLE = """
svg { --ink: #1d2530; --faint: #67727f; --line: #dfe4ea; --paper: #ffffff; --accent: #c2410c;
  --c0: #7fb3e6; --c1: #f2b872; --c2: #94cf9a; --c3: #e59aa8; --c4: #b7a4e3; --c5: #84cfcb;
  background: var(--paper); }
@media (prefers-color-scheme: dark) { svg { --ink: #e6eaef; --faint: #98a3af; --line: #343c46;
  --paper: #14181d; --accent: #fb923c; --c0: #2f6aa6; --c1: #a5681d; --c2: #3d7f46; --c3: #a24a5c;
  --c4: #6a56a5; --c5: #2f7f7b; } }
text { font: 11px system-ui, sans-serif; fill: var(--ink); } .faint { fill: var(--faint); }
.title { font-size: 13px; font-weight: 600; } .accent { fill: var(--accent); }
rect { stroke: var(--paper); stroke-width: 1; } line, path { stroke: var(--faint); fill: none; }
.free { fill: var(--line); } .outline { fill: none; stroke: var(--accent); stroke-width: 2; }
.mark { stroke: var(--accent); stroke-width: 1.5; }
.zero { fill: url(#zero); stroke: var(--faint); stroke-width: 0.5; }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); }
.c4 { fill: var(--c4); } .c5 { fill: var(--c5); } .again { fill-opacity: 0.45; }
"""
ZERO = (
    '<defs><pattern id="zero" width="5" height="5" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><line y2="5" style="stroke: var(--faint)"/></pattern></defs>'
)


class Drawing:
    """An SVG file that grows as large as what is drawn into it."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._width = self._height = 0.0

    def _grow(self, x: float, y: float) -> None:
        self._width, self._height = max(self._width, x), max(self._height, y)

    def box(self, x: float, y: float, width: float, height: float, style: str, label: str = "") -> None:
        """A rectangle with a label in its middle."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{style}"/>'
        )
        self._grow(x + width, y + height)
        if label:
            self.text(x + width / 2, y + height / 2 + 4, label, anchor="middle")

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start") -> None:
        """A line of text."""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" class={quoteattr(style)} text-anchor="{anchor}">{escape(text)}</text>'
        )
        width = (7.8 if style == "title" else 6.3) * len(text)
        self._grow(x + {"start": width, "middle": width / 2, "end": 0.0}[anchor], y + 4)

    def path(self, points: Iterable[tuple[float, float]], style: str = "") -> None:
        """A line through points."""
        points = list(points)
        where = " L ".join(f"{x:g} {y:g}" for x, y in points)
        self._parts.append(f'<path d="M {where}" class="{style}"/>')
        for x, y in points:
            self._grow(x, y)

    def svg(self) -> str:
        """Return the file."""
        width, height = self._width + 16, self._height + 12
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">'
            f"<style>{STYLE}</style>{ZERO}\n" + "\n".join(self._parts) + "\n</svg>\n"
        )


# Rows: an order of calls as generated code makes it ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layer:
    """An operator of an example: row r reads rows [stride·r − pad, stride·r − pad + kernel) of its inputs.

    With `sums` it reads every row once, in order, and keeps nothing but sums of them.
    """

    name: str
    inputs: tuple[str, ...] = ()
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    sums: bool = False


@dataclass
class Stream:
    """The calls of a stage, demand-driven, and how long every row is kept.

    Attributes:
        calls: (layer, row) in order.
        until: (layer, row) → the last call that reads the row.
    """

    layers: Sequence[Layer]
    rows: Mapping[str, int]
    calls: list[tuple[str, int]] = field(default_factory=list)
    until: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row in range(self.rows[self.layers[-1].name]):
            self._compute(self.layers[-1], row)

    def _compute(self, layer: Layer, row: int) -> None:
        if (layer.name, row) in self.calls:
            return
        if row:  # rows come in order
            self._compute(layer, row - 1)
        by_name = {other.name: other for other in self.layers}
        needed = [(name, r) for name in layer.inputs for r in self.reads(layer, name, row)]
        for name, r in needed:
            self._compute(by_name[name], r)
        self.calls.append((layer.name, row))
        for read in needed:
            self.until[read] = len(self.calls) - 1

    def reads(self, layer: Layer, name: str, row: int) -> range:
        """Return the rows of an input that a call reads."""
        first = layer.stride * row - layer.pad
        return range(max(first, 0), min(first + layer.kernel, self.rows[name]))

    def ring(self, name: str) -> int:
        """Return the rows kept of a tensor: those that exist when its oldest needed row is read."""
        most = 1
        for call, (reader, row) in enumerate(self.calls):
            layer = next(other for other in self.layers if other.name == reader)
            if name in layer.inputs and (reads := self.reads(layer, name, row)):
                most = max(most, sum(n == name for n, _ in self.calls[:call]) - reads[0])
        return most


def draw_stream(title: str, stream: Stream, notes: Mapping[str, str]) -> str:
    """Draw what every slot of every ring holds, call after call."""
    drawing = Drawing()
    left, top, cell, height = 220.0, 44.0, 17.0, 17.0
    drawing.text(16, 18, title, "title")
    end = len(stream.calls)
    y = top
    for colour, layer in enumerate(stream.layers):
        last = layer is stream.layers[-1]
        slots = 1 if layer.sums else stream.rows[layer.name] if last else stream.ring(layer.name)
        drawing.text(16, y + 12, layer.name)
        if slots > 1:
            drawing.text(16, y + 26, notes[layer.name], "faint")
        else:
            drawing.text(left - 8, y + 12, notes[layer.name], "faint", anchor="end")
        for slot in range(slots):
            drawing.box(left, y + slot * height, end * cell, height - 2, "free")
        for call, (name, row) in enumerate(stream.calls):
            if name != layer.name:
                continue
            slot = 0 if layer.sums else row % slots
            until = end if last else stream.until[name, row] + 1
            if layer.sums:
                until = next(
                    (c for c, other in enumerate(stream.calls) if c > call and other[0] == name), end
                )
            label = f"Σ{row}" if layer.sums else f"{row}"
            width = (until - call) * cell
            drawing.box(left + call * cell, y + slot * height, width, height - 2, f"c{colour % 6}", label)
        y += slots * height + 10
    drawing.text(left, y + 10, f"{end} calls →", "faint")
    return drawing.svg()


def rings() -> str:
    """Three layers streamed: the image resident above, rings for the two tensors between."""
    layers = (
        Layer("conv 3×3, stride 2"),
        Layer("depthwise 3×3", ("conv 3×3, stride 2",), kernel=3, pad=1),
        Layer("pointwise", ("depthwise 3×3",)),
    )
    stream = Stream(layers, dict.fromkeys((layer.name for layer in layers), 8))
    return draw_stream(
        "What each slot holds: a row is computed just before it is needed, and once",
        stream,
        {
            "conv 3×3, stride 2": "ring of 3 rows",
            "depthwise 3×3": "ring of 1",
            "pointwise": "the stage's output",
        },
    )


def in_place_ring() -> str:
    """The rows of a depthwise convolution in the ring of its input, on rows it has read."""
    conv = Layer("conv 3×3, stride 2")
    depthwise = Layer("depthwise 3×3", (conv.name,), kernel=3, pad=1)
    pointwise = Layer("pointwise", (depthwise.name,))
    stream = Stream(
        (conv, depthwise, pointwise), dict.fromkeys((conv.name, depthwise.name, pointwise.name), 8)
    )
    drawing = Drawing()
    left, top, cell, height = 220.0, 44.0, 17.0, 17.0
    drawing.text(
        16, 18, "A row of the depthwise convolution takes the place of the oldest row it has read", "title"
    )
    slots = stream.ring(conv.name)
    for i, text in enumerate((conv.name, "and, over it,", depthwise.name)):
        drawing.text(16, top + 12 + 14 * i, text, "faint" if i == 1 else "")
    for slot in range(slots):
        drawing.box(left, top + slot * height, len(stream.calls) * cell, height - 2, "free")
    made = {key: call for call, key in enumerate(stream.calls)}
    for (name, row), call in made.items():
        if name == pointwise.name:
            continue
        # The ring is rotated by the padding, so that the first row read and the row written share a slot.
        slot = (row + depthwise.pad) % slots if name == conv.name else row % slots
        until = stream.until[name, row] + 1
        over = made.get((depthwise.name, row + depthwise.pad))
        if name == conv.name and over is not None:
            until = min(until, over)
        label = f"{row}" if name == conv.name else f"{row}'"
        style = "c0" if name == conv.name else "c1"
        drawing.box(left + call * cell, top + slot * height, (until - call) * cell, height - 2, style, label)
    bottom = top + slots * height
    drawing.text(left, bottom + 10, f"{len(stream.calls)} calls →   a ring of {slots} rows for both", "faint")
    return drawing.svg()


def residual() -> str:
    """An addition inside a stage: the shortcut's rows wait for the longer branch."""
    layers = (
        Layer("block input"),
        Layer("expand 1×1", ("block input",)),
        Layer("depthwise 3×3", ("expand 1×1",), kernel=3, pad=1),
        Layer("project 1×1", ("depthwise 3×3",)),
        Layer("add", ("project 1×1", "block input")),
    )
    stream = Stream(layers, dict.fromkeys((layer.name for layer in layers), 6))
    return draw_stream(
        "A residual block in one stage: its input is kept one row longer, for the addition",
        stream,
        {
            "block input": f"ring of {stream.ring('block input')} rows, read twice",
            "expand 1×1": f"ring of {stream.ring('expand 1×1')} rows",
            "depthwise 3×3": "ring of 1",
            "project 1×1": "ring of 1",
            "add": "the stage's output",
        },
    )


def pooling() -> str:
    """Global pooling in a stage: sums instead of the map."""
    layers = (
        Layer("depthwise 3×3"),
        Layer("pointwise", ("depthwise 3×3",)),
        Layer("global average pool", ("pointwise",), sums=True),
    )
    stream = Stream(layers, dict.fromkeys((layer.name for layer in layers), 7))
    return draw_stream(
        "Global pooling fused: each row is added to the sums and forgotten",
        stream,
        {"depthwise 3×3": "ring of 1", "pointwise": "ring of 1", "global average pool": "int32 sums"},
    )


def pushed() -> str:
    """The image arrives row by row: a ring for it too."""
    layers = (
        Layer("image (pushed)"),
        Layer("conv 3×3, stride 2", ("image (pushed)",), kernel=3, stride=2, pad=0),
        Layer("depthwise 3×3", ("conv 3×3, stride 2",), kernel=3, pad=1),
    )
    rows = {"image (pushed)": 12, "conv 3×3, stride 2": 6, "depthwise 3×3": 6}
    stream = Stream(layers, rows)
    return draw_stream(
        "The image in a ring: a push brings a row, and the stage runs until it lacks the next",
        stream,
        {
            "image (pushed)": f"ring of {stream.ring('image (pushed)')} rows of 12",
            "conv 3×3, stride 2": f"ring of {stream.ring('conv 3×3, stride 2')} rows",
            "depthwise 3×3": "the stage's output",
        },
    )


# Columns: strips and patches -------------------------------------------------------------------------


def strips(width: int, count: int) -> list[range]:
    """Return strips that cover `width` columns, all but the last equally wide."""
    each = -(-width // count)
    return [range(first, min(first + each, width)) for first in range(0, width, each)]


def receptive(columns: range, kernel: int, stride: int, pad: int) -> range:
    """Return the input columns that output columns read, also outside the image."""
    return range(columns[0] * stride - pad, columns[-1] * stride - pad + kernel)


def vertical_strips() -> str:
    """Three strips of a map of ten columns, with what they read."""
    drawing = Drawing()
    drawing.text(16, 18, "Three strips over ten columns", "title")
    cell, left, outside = 24.0, 210.0, 3
    parts = strips(10, 3)
    levels: list[tuple[str, int, list[range]]] = [("output of the stage", 10, parts)]
    for name, width, kernel, stride, pad in (
        ("depthwise 3×3 reads", 10, 3, 1, 1),
        ("conv 3×3, stride 2 reads", 20, 3, 2, 1),
    ):
        levels.append((name, width, [receptive(p, kernel, stride, pad) for p in levels[-1][2]]))
    y = 38.0
    for name, width, read in levels:
        step = cell * 10 / width
        drawing.text(16, y + 32, name)
        extra = sum(len([c for c in p if 0 <= c < width]) for p in read) / width - 1
        drawing.text(16, y + 46, f"{extra:+.0%} columns", "faint")
        seen: set[int] = set()
        for index, part in enumerate(read):
            for column in part:
                x = left + (column + outside) * step
                if not 0 <= column < width:
                    style = "zero"
                else:
                    style = f"c{index}" + (" again" if column in seen else "")
                drawing.box(x, y + index * 20, step, 18, style)
            seen.update(part)
        y += 76
    drawing.box(left, y, 16, 12, "c0")
    drawing.text(left + 22, y + 10, "computed", "faint")
    drawing.box(left + 90, y, 16, 12, "c0 again")
    drawing.text(left + 112, y + 10, "computed again: the halo", "faint")
    drawing.box(left, y + 18, 16, 12, "zero")
    drawing.text(left + 22, y + 28, "outside the image: zero points", "faint")
    return drawing.svg()


def patches() -> str:
    """A patch of the output and what it reads, two layers up."""
    drawing = Drawing()
    drawing.text(16, 18, "Bands × strips: the patches of MCUNetV2", "title")
    parts = strips(12, 3)
    x, y, size = 16.0, 60.0, 168.0
    read = [parts[1], parts[1]]
    for name, width, kernel, stride, pad in (
        ("output, 3×3 patches", 12, 0, 0, 0),
        ("read by depthwise 3×3", 12, 3, 1, 1),
        ("read by conv 3×3, stride 2", 24, 3, 2, 1),
    ):
        step = size / width
        drawing.box(x, y, size, size, "free")
        if kernel:
            read = [receptive(axis, kernel, stride, pad) for axis in read]
        else:
            for row, column in itertools.product(parts, parts):
                drawing.box(
                    x + column[0] * step, y + row[0] * step, len(column) * step, len(row) * step, "c0"
                )
        rows, columns = read
        drawing.box(
            x + columns[0] * step,
            y + rows[0] * step,
            len(columns) * step,
            len(rows) * step,
            "c1",
            "one patch",
        )
        own = len(parts[0]) * width // 12
        if kernel:
            drawing.box(x + own * step, y + own * step, own * step, own * step, "outline")
        drawing.text(x, y - 8, name)
        drawing.text(
            x,
            y + size + 16,
            f"{len(rows)}×{len(columns)} of {width}×{width}, its own share {own}×{own}",
            "faint",
        )
        x += size + 60
    return drawing.svg()


# Bytes: overlap, order, offsets ----------------------------------------------------------------------


def overlap() -> str:
    """How far an output may overlap its input, from the bytes written and still needed."""
    drawing = Drawing()
    x = 16.0
    for title, access in (
        ("depthwise 3×3, stride 1", AccessMap(8, 2, (RowMap(8, 2, 1, -1, 1),))),
        ("depthwise 3×3, stride 2", AccessMap(4, 2, (RowMap(8, 2, 2, -1, 1),))),
        ("expand 1×1, four times the bytes", AccessMap(8, 8, (RowMap(8, 2),))),
    ):
        distance = access.overlap_distance(0)
        row_map = access.inputs[0]
        assert row_map is not None
        unit, base = 160 / max(access.output_bytes, 16), 230.0
        drawing.text(x, 18, title, "title")
        written: list[tuple[float, float]] = []
        needed: list[tuple[float, float]] = []
        column = 100 / access.rows
        for row, (_, end) in enumerate(access.steps()):
            still = row_map.first(row) * row_map.row_bytes
            for at in (x + row * column, x + (row + 1) * column):
                written.append((at, base - end * access.row_bytes * unit))
                needed.append((at, base - still * unit))
        drawing.path([(x, base), (x + 100, base)])
        drawing.path(written, "mark")
        drawing.path(needed)
        drawing.text(x, base + 16, "output rows →", "faint")
        at = x + 118
        low = max(distance, 0)
        drawing.box(at, base - access.output_bytes * unit, 30, access.output_bytes * unit, "c1", "out")
        top = low + row_map.rows * row_map.row_bytes
        drawing.box(at + 34, base - top * unit, 30, row_map.rows * row_map.row_bytes * unit, "c0", "in")
        together = max(access.output_bytes, top)
        drawing.text(at, base + 16, f"D = {distance}", "accent")
        drawing.text(
            at,
            base + 30,
            f"{together} B instead of {access.output_bytes + row_map.rows * row_map.row_bytes}",
            "faint",
        )
        x += 270
    drawing.text(
        16,
        278,
        "Orange: bytes written after a row. Grey: the first byte still needed. D is their largest distance.",
        "faint",
    )
    return drawing.svg()


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of an example graph."""

    name: str
    inputs: tuple[str, ...]
    output_bytes: int


GRAPH = (
    Operator("stem", (), 2),
    Operator("a1", ("stem",), 8),
    Operator("a2", ("a1",), 2),
    Operator("b1", ("stem",), 8),
    Operator("b2", ("b1",), 2),
    Operator("join", ("a2", "b2"), 2),
)


def orders() -> Iterator[tuple[Operator, ...]]:
    """Yield the orders in which the example graph can run."""
    for order in itertools.permutations(GRAPH):
        done: set[str] = set()
        if all(done.issuperset(op.inputs) and (done.add(op.name) is None) for op in order):
            yield order


def live(order: Sequence[Operator]) -> list[list[Operator]]:
    """Return the tensors that exist while each operator runs."""
    found = []
    for at, op in enumerate(order):
        later = {name for other in order[at:] for name in other.inputs}
        found.append([other for other in order[:at] if other.name in later] + [op])
    return found


def operator_order() -> str:
    """The best and the worst order of a graph with two branches."""
    drawing = Drawing()

    def peak(order: Sequence[Operator]) -> int:
        return max(sum(op.output_bytes for op in tensors) for tensors in live(order))

    ranked = sorted(orders(), key=peak)
    x, unit, base = 16.0, 9.0, 214.0
    for order, verdict in ((ranked[-1], "the worst order"), (ranked[0], "the best")):
        drawing.text(x, 18, f"{verdict}: {peak(order)} KB", "title")
        for at, tensors in enumerate(live(order)):
            y = base
            for op in tensors:
                y -= op.output_bytes * unit
                colour = [other.name for other in GRAPH].index(op.name)
                drawing.box(x + at * 52, y, 50, op.output_bytes * unit, f"c{colour}", op.name)
            drawing.text(x + at * 52 + 25, base + 14, order[at].name, "faint", anchor="middle")
        x += 6 * 52 + 60
    drawing.text(
        16,
        base + 34,
        "Tensors that exist while each operator runs: stem feeds a1→a2 and b1→b2, join reads both.",
        "faint",
    )
    return drawing.svg()


BLOCKS = ((0, 1, 4), (0, 2, 2), (1, 4, 3), (3, 5, 4), (2, 3, 3), (5, 6, 6), (4, 6, 2))
"""(first stage, last stage, bytes) of an example whose greedy placement leaves a gap."""


def lowest(order: Sequence[int]) -> dict[int, int]:
    """Place blocks in this order, each as low as those before let it."""
    offsets: dict[int, int] = {}
    for index in order:
        first, last, size = BLOCKS[index]
        taken = sorted(
            (offsets[i], offsets[i] + BLOCKS[i][2])
            for i in offsets
            if BLOCKS[i][0] <= last and first <= BLOCKS[i][1]
        )
        at = 0
        for low, high in taken:
            if at + size <= low:
                break
            at = max(at, high)
        offsets[index] = at
    return offsets


def arena(offsets: Mapping[int, int]) -> int:
    """Return the bytes of a placement."""
    return max(at + BLOCKS[i][2] for i, at in offsets.items())


def offsets() -> str:
    """A greedy placement with a gap, and the best one, which meets the bound."""
    drawing = Drawing()
    indices = range(len(BLOCKS))
    by_size = sorted(indices, key=lambda i: -BLOCKS[i][2])
    bound = max(
        sum(size for first, last, size in BLOCKS if first <= stage <= last)
        for stage in range(max(last for _, last, _ in BLOCKS) + 1)
    )
    best = min((lowest(order) for order in itertools.permutations(indices)), key=arena)
    x, unit, column, base = 16.0, 14.0, 38.0, 246.0
    for found, verdict in ((lowest(by_size), "largest first"), (best, "branch and bound")):
        drawing.text(x, 18, f"{verdict}: {arena(found)} KB", "title")
        for index, at in found.items():
            first, last, size = BLOCKS[index]
            width = (last - first + 1) * column
            y = base - (at + size) * unit
            drawing.box(x + first * column, y, width, size * unit, f"c{index % 6}", f"{size}")
        drawing.path([(x, base), (x + 7 * column, base)])
        drawing.path([(x, base - bound * unit), (x + 7 * column, base - bound * unit)], "mark")
        x += 7 * column + 60
    drawing.text(
        16, base + 18, f"Orange: the lower bound, {bound} KB, the most bytes live in one stage.", "faint"
    )
    return drawing.svg()


def squeeze_excite() -> str:
    """The map in front of a gate: kept, or computed twice."""
    drawing = Drawing()
    base, unit = 180.0, 1.0
    x = 16.0
    for title, boxes in (
        (
            "keep: the whole map waits for its gate",
            (
                (0, 90, 0, 110, "c0", "map"),
                (90, 40, 0, 110, "c0", ""),
                (90, 40, 112, 14, "c3", "gate"),
                (130, 90, 0, 110, "c0", "map × gate"),
                (130, 90, 112, 14, "c3", "gate"),
            ),
        ),
        (
            "recompute: pool the rows, then compute them again",
            (
                (0, 90, 0, 24, "c1", "rings"),
                (0, 90, 26, 14, "c4", "sums"),
                (90, 40, 0, 14, "c3", "gate"),
                (130, 90, 0, 24, "c1 again", "rings"),
                (130, 90, 26, 14, "c3", "gate"),
                (130, 90, 42, 40, "c2", "output"),
            ),
        ),
    ):
        drawing.text(x, 18, title, "title")
        for left, width, low, height, style, label in boxes:
            drawing.box(x + left, base - (low + height) * unit, width, height * unit, style, label)
        drawing.path([(x, base), (x + 230, base)])
        for at, name in ((45, "expand"), (110, "FC"), (175, "multiply")):
            drawing.text(x + at, base + 14, name, "faint", anchor="middle")
        x += 330
    drawing.text(16, base + 32, "A sketch, not to scale.", "faint")
    return drawing.svg()


def plan(path: Path, schedule: Literal["layer", "stream"], title: str) -> str:
    """Return the drawing of a real plan."""
    report = compile_model(path, boards.load(BOARD), Planning(schedule=schedule)).report()
    return render_svg(report, title)


def drawings() -> dict[str, str]:
    """Return every drawing by the name of its file."""
    return {
        "layer.svg": plan(MOBILENET, "layer", "MobileNetV2-0.35 at 144×144, one operator at a time"),
        "in_place.svg": plan(DIGITS, "layer", "digits, one operator at a time"),
        "stream.svg": plan(MOBILENET, "stream", "MobileNetV2-0.35 at 144×144, streamed"),
        "overlap.svg": overlap(),
        "rings.svg": rings(),
        "in_place_ring.svg": in_place_ring(),
        "residual.svg": residual(),
        "pooling.svg": pooling(),
        "strips.svg": vertical_strips(),
        "patches.svg": patches(),
        "pushed.svg": pushed(),
        "squeeze_excite.svg": squeeze_excite(),
        "order.svg": operator_order(),
        "offsets.svg": offsets(),
    }


def main() -> None:
    """Write the drawings."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in drawings().items():
        (folder / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
