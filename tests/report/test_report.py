"""The report: numbers that agree with the plan, and renderings that survive hostile names."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from tinyml import boards
from tinyml.build import Planning, compile_model
from tinyml.report.console import render
from tinyml.report.drawing import MemoryDrawing, marks
from tinyml.report.html import render_html, render_svg
from tinyml.report.model import BuildReport, Fit, SymbolSize, with_firmware
from tinyml.report.units import short_name, size


@pytest.fixture(scope="module")
def report(digits_model: Path) -> BuildReport:
    return compile_model(digits_model, boards.load("stm32f746")).report()


@pytest.fixture(scope="module")
def streamed(digits_model: Path) -> BuildReport:
    return compile_model(digits_model, boards.load("stm32f746"), Planning(objective="sram")).report()


def shown(report: BuildReport, *, verbose: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, markup=False, highlight=False)
    console.print(render(report, verbose=verbose))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


class Balance(HTMLParser):
    """Counts tags that are left open."""

    VOID = ("meta", "line", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rectangles = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rectangles += tag == "rect"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_peak_is_the_arena(report: BuildReport) -> None:
    assert report.peak is not None
    assert max(b.offset + b.bytes for b in report.peak.live) == report.arena_bytes
    # ... and no other moment holds more bytes at once, overlaps counted once.
    for stage in range(len(report.stages)):
        covered: set[int] = set()
        for b in report.buffers:
            if b.first <= stage <= b.last:
                covered.update(range(b.offset, b.offset + b.bytes))
        assert len(covered) <= report.arena_bytes


def test_json_round_trips(report: BuildReport) -> None:
    assert json.loads(json.dumps(report.to_json()))["arena_bytes"] == report.arena_bytes


def test_the_firmware_adds_what_the_plan_cannot_know(report: BuildReport) -> None:
    board = boards.load("stm32f746")
    assert board.ram is not None
    symbols = [SymbolSize("a", 10, "model"), SymbolSize("w", 300, "weights")]
    built = with_firmware(
        report, board, symbols,
        weights_bytes=300, total_flash_bytes=1000, static_bytes=50, stack_bytes=200, toolchain="gcc",
    )  # fmt: skip
    assert built.flash.code_bytes == 700
    assert [s.name for s in built.flash.symbols] == ["w", "a"]  # largest first
    assert built.sram_fit == Fit(report.arena_bytes + 250, board.ram.size_bytes)
    assert "w" in shown(built, verbose=True)
    assert "stack 200 B" in shown(built)


def test_what_does_not_fit_is_not_drawn_as_if_it_did(report: BuildReport) -> None:
    tight = dataclasses.replace(report, sram_fit=Fit(2000, 1000))
    assert not tight.fits
    assert "(200%)" in shown(tight)
    assert "does not fit" in render_html(tight)
    assert "does not fit" not in render_html(report)


def test_the_page_is_whole_and_loads_nothing(report: BuildReport) -> None:
    page = render_html(report)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert parser.rectangles >= len(report.buffers)
    assert not re.search(r"<script|@import|(src|href)=", page)


def test_rectangles_lie_where_the_plan_says(report: BuildReport) -> None:
    page = render_html(report)
    found = re.findall(
        r"<g><title>(.*?) \((\w+)\): ([\d,]+) bytes at ([\d,]+), stages (\d+) to (\d+)</title>\s*"
        r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"',
        page,
    )
    assert len(found) == len(report.buffers)
    heights = {float(h) / int(size_bytes.replace(",", "")) for _, _, size_bytes, *_, h in found}
    assert max(heights) - min(heights) < 1e-6  # one scale for all
    widths = {float(w) / (int(last) - int(first) + 1) for *_, first, last, _, _, w, _ in found}
    assert max(widths) - min(widths) < 1e-6


def test_a_streamed_stage_is_as_wide_as_its_operators(streamed: BuildReport) -> None:
    stages = streamed.stages
    assert any(len(stage) > 1 for stage in stages)
    found = re.findall(
        r'stages (\d+) to (\d+)</title>\s*<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"',
        render_html(streamed),
    )
    assert len(found) == len(streamed.buffers)
    column = 960 / sum(map(len, stages))
    for first, last, x, width in found:
        before = sum(map(len, stages[: int(first)]))
        inside = sum(map(len, stages[int(first) : int(last) + 1]))
        assert float(x) == pytest.approx(74 + before * column, abs=0.01)
        assert float(width) == pytest.approx(inside * column, abs=0.01)


def test_rings_are_striped_and_taken_bytes_have_a_diagonal(
    report: BuildReport, streamed: BuildReport
) -> None:
    rings = sum(buffer.kind == "ring" for buffer in streamed.buffers)
    assert rings > 0
    assert len(re.findall('class="stripes"', render_html(streamed))) == rings
    assert 'class="stripes"' not in render_html(report)
    # The depthwise layer's output overlaps its input, which ends with it.
    taken = [
        (a, b)
        for a in report.buffers
        for b in report.buffers
        if a.kind == b.kind == "tensor" and a.first < a.last == b.first
        if a.offset < b.offset + b.bytes and b.offset < a.offset + a.bytes
    ]
    assert taken
    assert page_polygons(report) >= len(taken)


def page_polygons(report: BuildReport) -> int:
    return render_html(report).count("<polygon")


def test_the_svg_is_a_file_of_its_own(streamed: BuildReport) -> None:
    root = ElementTree.fromstring(render_svg(streamed, "digits & <streamed>"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "digits & <streamed>" in texts
    assert f"▼ peak {streamed.arena_bytes:,} B" in texts
    assert f"lower bound of this schedule {streamed.lower_bound_bytes:,} B" in texts


def test_a_hostile_name_stays_text(report: BuildReport) -> None:
    evil = "</title><script>alert(1)</script>[red]x[/red]"
    buffers = tuple(dataclasses.replace(b, name=evil) for b in report.buffers)
    assert report.peak is not None
    spoilt = dataclasses.replace(
        report, model=evil, buffers=buffers, peak=dataclasses.replace(report.peak, live=buffers)
    )
    page = render_html(spoilt)
    assert "<script>" not in page
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert "[red]x[/red]" in shown(spoilt)


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536000, "1,500.0 KiB")],
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


def test_names_of_fused_operators_are_shortened() -> None:
    assert short_name("block/relu;block/bn;block/conv") == "block/relu"
    assert short_name("a" * 60, 10) == "…" + "a" * 9


def test_the_estimate_is_one_and_says_so(report: BuildReport, digits_model: Path) -> None:
    estimate = report.latency_estimate
    assert estimate is not None
    assert estimate.basis.startswith("estimate")
    assert estimate.ms == pytest.approx(1e3 * estimate.cycles / 216e6)
    assert estimate.cycles_low < estimate.cycles < estimate.cycles_high
    assert "off on networks the fit has not seen" in estimate.basis
    assert "1.242 to 1.423" in estimate.basis  # what boards took: peers.json
    # The portable kernels of a core without the DSP extension must not look as fast.
    m0 = compile_model(digits_model, boards.load("rp2040")).report().latency_estimate
    assert m0 is not None
    assert m0.cycles > 3 * estimate.cycles


# The drawing on a terminal ---------------------------------------------------------------------------


def drawn(report: BuildReport, width: int, *, colour: bool = False, ascii_only: bool = False) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii" if ascii_only else "utf-8", newline="")
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="256" if colour else None, no_color=False
    )
    console.print(MemoryDrawing(report))
    file.flush()
    return file.buffer.getvalue().decode().splitlines()  # type: ignore[attr-defined]


def plot_of(lines: list[str], wall: str = "│") -> list[str]:
    """The rows of the plot from the lowest bytes to the highest."""
    return [line.split(wall, 1)[1] for line in lines if wall in line][::-1]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("which", ["report", "streamed"])
def test_cells_show_what_the_plan_puts_there(which: str, width: int, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(which)
    lines = drawn(report, width)
    assert max(map(len, lines)) <= width
    rows = plot_of(lines)
    columns = max(map(len, rows))
    letters = marks(report)
    owner = [stage for stage, ops in enumerate(report.stages) for _ in ops]  # of each operator's time
    band = report.arena_bytes / len(rows)
    for row, line in enumerate(rows):
        for column, cell in enumerate(line.ljust(columns)):
            stage = owner[int((column + 0.5) * len(owner) / columns)]
            covering = [
                (min(b.offset + b.bytes, (row + 1) * band) - max(b.offset, row * band), letters[b].letter)
                for b in report.buffers
                if b.first <= stage <= b.last
            ]
            here = {letter for covered, letter in covering if covered > 0}
            assert cell == " " or cell in here
            if cell == " ":
                assert all(covered <= 0.51 * band for covered, _ in covering)
            elif max(covered for covered, _ in covering) > 0.51 * band:
                assert any(covered > 0.3 * band for covered, letter in covering if letter == cell)


def test_the_peak_is_marked_and_named(report: BuildReport) -> None:
    lines = drawn(report, 100)
    assert report.peak is not None
    marked = [i - 13 for i, c in enumerate(lines[0]) if c == "▼"]
    columns = max(map(len, plot_of(lines)))
    per_operator = columns // sum(map(len, report.stages))
    assert marked
    assert {column // per_operator for column in marked} <= {report.peak.stage}
    assert "peak 4.1 KiB" in lines[0]
    assert plot_of(lines)[-1].strip()  # the highest band is in use, at the peak
    assert plot_of(lines)[-1][marked[0]] != " "


def test_bytes_pass_from_input_to_output_within_a_stage(report: BuildReport) -> None:
    """Stage 2's input and output share bytes: its first half shows one, its second the other."""
    letters = marks(report)
    source = next(b for b in report.buffers if b.kind == "tensor" and b.first == 1)
    output = next(b for b in report.buffers if b.kind == "tensor" and b.first == source.last)
    rows = plot_of(drawn(report, 100))
    middle = (
        max(source.offset, output.offset) + min(source.offset + source.bytes, output.offset + output.bytes)
    ) // 2
    line = rows[middle * len(rows) // report.arena_bytes]
    stage = output.first
    assert line[8 * stage : 8 * stage + 8] == 4 * letters[source].letter + 4 * letters[output].letter


def test_a_terminal_gets_colours_and_names_and_a_pipe_letters(streamed: BuildReport) -> None:
    coloured = "\n".join(drawn(streamed, 100, colour=True))
    assert "\x1b[" in coloured
    assert "A rows of digits_1/re_lu_1_2/Relu" in re.sub(r"\x1b\[[\d;]*m", "", coloured)
    plain = "\n".join(drawn(streamed, 100))
    assert "\x1b" not in plain
    assert "AAAA" in plain
    assert "streamed row by row" in plain


def test_a_terminal_without_unicode_gets_a_drawing_too(streamed: BuildReport) -> None:
    lines = drawn(streamed, 80, ascii_only=True)
    assert all(line.isascii() and "?" not in line for line in lines)
    assert len(plot_of(lines, "|")) == len(plot_of(drawn(streamed, 80)))


def test_what_a_stage_remembers_is_drawn_and_explained(streamed: BuildReport) -> None:
    ring = next(b for b in streamed.buffers if b.kind == "ring" and b.bytes > 400)
    state = dataclasses.replace(ring, kind="state", name="sums")
    changed = dataclasses.replace(
        streamed, buffers=tuple(state if b == ring else b for b in streamed.buffers), peak=None
    )
    lines = drawn(changed, 100)
    assert any("####" in line for line in plot_of(lines))
    assert "### state" in lines[-1]
    assert 'class="block state"' in render_svg(changed)
    assert "state" not in drawn(streamed, 100)[-1]


def test_strips_and_patches_are_named(streamed: BuildReport) -> None:
    assert "piece by piece" not in "\n".join(drawn(streamed, 100))
    whole = streamed.divisions[1:]
    for division, name in (((4, 1), "4 strips"), ((3, 2), "2×3 patches")):
        cut = dataclasses.replace(streamed, divisions=(division, *whole))
        assert f"computed piece by piece: 0-5 in {name}" in drawn(cut, 100)[-1]
        assert f">0–5 {name}</text>" in render_svg(cut)
        assert cut.to_json()["divisions"][0] == list(division)


def test_what_has_no_room_does_not_fit(report: BuildReport) -> None:
    assert MemoryDrawing(report).fits(80)
    assert not MemoryDrawing(report).fits(30)
    many = dataclasses.replace(report, stages=report.stages * 100, divisions=report.divisions * 100)
    assert not MemoryDrawing(many).fits(200)


def test_letters_of_the_drawing_stand_in_the_table_of_the_peak(report: BuildReport) -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(render(report, drawing=True))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert report.peak is not None
    for buffer in report.peak.live:
        assert re.search(
            rf"^ {re.escape(marks(report)[buffer].letter)} .*{buffer.bytes:,}", text, re.MULTILINE
        )
    assert "▼" not in shown(report)  # only where it is asked for
