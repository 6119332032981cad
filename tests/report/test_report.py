"""The report: numbers that agree with the plan, and renderings that survive hostile names."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from tinyml import boards
from tinyml.build import compile_model
from tinyml.report.console import render
from tinyml.report.html import render_html
from tinyml.report.model import BuildReport, Fit, SymbolSize, with_firmware
from tinyml.report.units import short_name, size


@pytest.fixture(scope="module")
def report(digits_model: Path) -> BuildReport:
    return compile_model(digits_model, boards.load("stm32f746")).report()


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
