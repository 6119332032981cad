"""The arena over time on a terminal: operators from left to right, bytes from bottom to top.

Every cell is a band of bytes during a part of an operator and shows the buffer that covers most of the band.
Buffers have letters, small ones for tensors and capitals for rings. Without colour the letters fill the
cells; with colour they stand in the corners, with the name where there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase

from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from tinyml.report.model import BufferUse, BuildReport
from tinyml.report.timeline import Handover, by_birth, division, handovers, is_streamed, stage_edges
from tinyml.report.units import short_name, size

_ROWS = 18
_AXIS_WIDTH = 11  # "1,234.5 KiB"
_WIDEST = 120  # columns of the plot: wider drawings are no clearer
_NARROWEST = 24
_CELLS_PER_OPERATOR = 8
_NAMED = 10  # cells that carry a name
_OPERATORS_PER_CELL = 2  # more of them in one column would not be a drawing of the plan
_TENSORS = tuple(Style(color="black", bgcolor=f"color({n})") for n in (110, 215, 114, 175, 141, 80, 185, 250))
_RINGS = tuple(Style(color="white", bgcolor=f"color({n})") for n in (25, 130, 28, 89, 55, 30))
_SCRATCH = Style(color="bright_black")
_FILLS = {"scratch": "/", "state": "#"}  # instead of letters
_PEAK = Style(color="red", bold=True)
_FAINT = Style(dim=True)


@dataclass(frozen=True, slots=True)
class _Glyphs:
    peak: str
    wall: str
    corner: str
    row: str
    streamed: str


_GLYPHS, _ASCII = _Glyphs("▼", "│", "└", "─", "═"), _Glyphs("v", "|", "+", "-", "=")


@dataclass(frozen=True, slots=True)
class Mark:
    """How a buffer is drawn."""

    letter: str
    style: Style


def marks(report: BuildReport) -> dict[BufferUse, Mark]:
    """Return letter and colour of every buffer; both repeat: they tell it from its neighbours only."""
    found = {}
    counts = {"tensor": 0, "ring": 0}
    for buffer in by_birth(report):
        if buffer.kind not in counts:
            found[buffer] = Mark(_FILLS[buffer.kind], _SCRATCH)
            continue
        n = counts[buffer.kind]
        counts[buffer.kind] += 1
        letters, styles = (
            (ascii_lowercase, _TENSORS) if buffer.kind == "tensor" else (ascii_uppercase, _RINGS)
        )
        found[buffer] = Mark(letters[n % len(letters)], styles[n % len(styles)])
    return found


class MemoryDrawing:
    """A renderable that draws the plan as wide as the console is, up to a limit."""

    def __init__(self, report: BuildReport) -> None:
        self.report = report

    def fits(self, width: int) -> bool:
        """Whether a drawing of `width` columns would show every stage, or nearly."""
        operators = stage_edges(self.report)[-1]
        plot = min(width - _AXIS_WIDTH - 2, _WIDEST)
        enough = plot >= _NARROWEST and operators <= _OPERATORS_PER_CELL * plot
        return enough and operators > 0 and self.report.arena_bytes > 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        report = self.report
        plot = max(min(options.max_width - _AXIS_WIDTH - 2, _WIDEST), 1)
        columns = _columns(report, plot)
        glyphs = _ASCII if options.ascii_only else _GLYPHS
        peak = report.peak.stage if report.peak else -1
        yield self._peak_line(glyphs.peak, [c for c, (stage, _) in enumerate(columns) if stage == peak])

        cells = _Cells(report)
        bands = [
            (r * report.arena_bytes // _ROWS, (r + 1) * report.arena_bytes // _ROWS) for r in range(_ROWS)
        ]
        shown = [[cells.at(stage, late, *band) for stage, late in columns] for band in bands]
        bound = min(report.lower_bound_bytes * _ROWS // report.arena_bytes, _ROWS - 1)
        coloured = console.color_system is not None and not console.no_color
        for row in reversed(range(_ROWS)):
            line = _line((f"{self._axis(row, bands[row][1], bound):>{_AXIS_WIDTH}} {glyphs.wall}", _FAINT))
            above = shown[row + 1] if row + 1 < _ROWS else [None] * len(columns)
            for buffer, width, is_top in _runs(shown[row], above):
                if buffer is None:
                    line.append(" " * width, Style.null())
                    continue
                mark = cells.marks[buffer]
                fill = mark.letter * width
                if coloured and buffer.kind not in _FILLS:
                    fill = (_label(buffer, mark, width) if is_top else "").ljust(width)
                line.append(fill, mark.style)
            yield line

        ruler = _line((" " * (_AXIS_WIDTH + 1) + glyphs.corner, _FAINT))
        for stage, _ in columns:
            glyph = glyphs.streamed if is_streamed(report, stage) else glyphs.row
            ruler.append(glyph, _PEAK if stage == peak else _FAINT)
        yield ruler
        yield _line((" " * (_AXIS_WIDTH + 2) + _labels(report, columns, plot), _FAINT))
        yield self._legend(glyphs.streamed)
        pieces = [
            f"{_operators(ops)} in {division(report, stage)}"
            for stage, ops in enumerate(report.stages)
            if division(report, stage)
        ]
        if pieces:
            text = " " * (_AXIS_WIDTH + 2) + "computed piece by piece: " + ", ".join(pieces)
            yield _line((text.replace("×", "x") if options.ascii_only else text, Style.null()))

    def _peak_line(self, glyph: str, at: list[int]) -> Text:
        """Return the line above the plot: marks over the fullest stage, the arena's size beside them."""
        if not at:
            return Text()
        label = f"peak {size(self.report.arena_bytes)}"
        line = " " * (_AXIS_WIDTH + 2 + at[0]) + glyph * len(at)
        if at[0] > len(label):
            line = line[: -len(at) - len(label) - 1] + f"{label} " + line[-len(at) :]
        else:
            line += f" {label}"
        return _line((line, _PEAK))

    def _axis(self, row: int, high: int, bound_row: int) -> str:
        """Return the label of a band: the arena at the top, the lower bound in its own, and every fourth."""
        if row == _ROWS - 1:
            return size(self.report.arena_bytes)
        if row == bound_row:
            return f"bound {self.report.lower_bound_bytes / 1024:,.0f}K"
        return size(high) if row % 4 == 1 and abs(row - bound_row) > 1 else ""

    def _legend(self, streamed: str) -> Text:
        legend = _line(
            (" " * (_AXIS_WIDTH + 2), Style.null()), (" a ", _TENSORS[0]), (" tensor  ", Style.null())
        )
        if any(buffer.kind == "ring" for buffer in self.report.buffers):
            legend.append(" A ", _RINGS[0])
            legend.append(" ring  ")
        for kind, fill in _FILLS.items():
            if any(buffer.kind == kind for buffer in self.report.buffers):
                legend.append(fill * 3, _SCRATCH)
                legend.append(f" {kind}  ")
        if any(is_streamed(self.report, stage) for stage in range(len(self.report.stages))):
            legend.append(f" {streamed * 3} streamed row by row")
        return legend


def _columns(report: BuildReport, most: int) -> list[tuple[int, bool]]:
    """Return, per column, its stage and whether it shows the stage's second half.

    Where a column stands for several operators it shows the fullest stage among them.
    """
    edges = stage_edges(report)
    width = min(most, _CELLS_PER_OPERATOR * edges[-1])
    tops = [
        max((b.offset + b.bytes for b in report.buffers if b.first <= stage <= b.last), default=0)
        for stage in range(len(report.stages))
    ]
    columns = []
    for column in range(width):
        # The operators between the centres of the columns beside it; one where columns are the narrower.
        reach = max(edges[-1] / width - 1, 0) / 2
        centre = (column + 0.5) * edges[-1] / width
        inside = [s for s in range(len(tops)) if edges[s] <= centre + reach and edges[s + 1] > centre - reach]
        stage = max(inside, key=lambda s: tops[s])
        columns.append((stage, 2 * centre > edges[stage] + edges[stage + 1]))
    return columns


def _runs(
    row: Sequence[BufferUse | None], above: Sequence[BufferUse | None]
) -> Iterator[tuple[BufferUse | None, int, bool]]:
    """Yield runs of equal cells: the buffer, how many cells, and whether this is its highest row there."""
    start = 0
    for column in range(1, len(row) + 1):
        if column == len(row) or row[column] != row[start]:
            yield row[start], column - start, above[start] != row[start]
            start = column


def _label(buffer: BufferUse, mark: Mark, width: int) -> str:
    """Return the letter, and the name where there is room for something of it."""
    if width < _NAMED:
        return mark.letter
    name = "".join(c if c.isascii() and c.isprintable() else "?" for c in buffer.name)
    return f"{mark.letter} {short_name(name, width - 2)}"


def _labels(report: BuildReport, columns: Sequence[tuple[int, bool]], room: int) -> str:
    """Return the line below the axis: each stage's operators where there is room."""
    line = ""
    for column, (stage, _) in enumerate(columns):
        begins = column == 0 or columns[column - 1][0] != stage
        label = _operators(report.stages[stage])
        if begins and (not line or len(line) < column) and column + len(label) <= room:
            line = line.ljust(column) + label
    title = "  operator"
    return line + title if len(line) + len(title) <= room else line


def _operators(ops: Sequence[int]) -> str:
    return f"{ops[0]}" if len(ops) == 1 else f"{ops[0]}-{ops[-1]}"


def _line(*parts: tuple[str, Style]) -> Text:
    """Return a line that is cut off, not wrapped, where the terminal ends."""
    line = Text(no_wrap=True, overflow="crop", end="\n")
    for text, style in parts:
        line.append(text, style)
    return line


class _Cells:
    """What covers a band of bytes at a moment."""

    def __init__(self, report: BuildReport) -> None:
        self.marks = marks(report)
        stages = range(len(report.stages))
        ordered = by_birth(report)
        self._live = [[b for b in ordered if b.first <= s <= b.last] for s in stages]
        self._handovers: list[list[Handover]] = [[] for _ in stages]
        for handover in handovers(report):
            self._handovers[handover.stage].append(handover)

    def at(self, stage: int, late: bool, low: int, high: int) -> BufferUse | None:
        """Return what covers most of the bytes [low, high) in a half of a stage; None where most are free."""
        covering = list(self._covering(stage, late, low, high))
        if not covering or 2 * sum(covered for _, covered in covering) < high - low:
            return None
        return max(covering, key=lambda pair: pair[1])[0]

    def _covering(self, stage: int, late: bool, low: int, high: int) -> Iterator[tuple[BufferUse, int]]:
        """Yield the live buffers with their bytes in [low, high), shared bytes counted for one of them."""
        for buffer in self._live[stage]:
            covered = _meet(buffer.offset, buffer.offset + buffer.bytes, low, high)
            for handover in self._handovers[stage]:
                # Shared bytes look like the input first and like the output then.
                if buffer == (handover.source if late else handover.output):
                    covered -= _meet(handover.low, handover.high, low, high)
            if covered > 0:
                yield buffer, covered


def _meet(a: int, b: int, c: int, d: int) -> int:
    """Bytes that [a, b) and [c, d) have in common."""
    return max(min(b, d) - max(a, c), 0)
