"""docs/kernels.md is what tools/kernels_doc.py writes, and every kernel is on it with all it must say."""

from __future__ import annotations

import json
import re
from types import ModuleType

import pytest

from tests.tools.load import load_tool
from tinyml.kernels import KERNELS
from tinyml.report import latency


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("kernels_doc")


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), f"run {tool.COMMAND}"


def test_every_kernel_is_on_the_page(tool: ModuleType) -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", tool.page(), re.MULTILINE | re.DOTALL))
    assert set(sections) == {kernel.symbol for kernel in KERNELS}
    for kernel in KERNELS:
        section = sections[kernel.symbol]
        assert kernel.op.value in section
        assert "*Chosen*" in section
        for predicate in kernel.accepts:
            assert (predicate.__doc__ or "").split("\n\n")[0].split()[0] in section
    assert "[" in sections["tm_conv2d_1x1_s8_dsp"]  # the layout
    assert "2 * in_c" in sections["tm_conv2d_1x1_s8_dsp"]  # scratch
    for core in ("cortex-m4", "cortex-m7", "cortex-m33"):
        assert f"| {core} |" in sections["tm_conv2d_1x1_s8_dsp"]
    for core in ("cortex-m0", "cortex-m0plus", "cortex-m3"):
        assert f"| {core} |" in sections["tm_conv2d_1x1_s8_c"]


def test_the_table_is_whole_and_says_how_good_it_is() -> None:
    table = latency.TABLE
    assert json.loads(latency.PATH.read_text()) == table
    assert {
        "cortex-m0",
        "cortex-m0plus",
        "cortex-m3",
        "cortex-m4",
        "cortex-m7",
        "cortex-m33",
        "cortex-m55",
    } == set(table["cores"])
    for core in table["cores"].values():
        assert core["unseen"], "no network was left out"
        for costs in core["kernels"].values():
            assert costs["layers"] > 0
            assert min(*costs["instructions"], *costs["cycles"]) >= 0
            assert max(costs["cycles"]) > 0
    points = table["calibration"]["points"]
    ratios = [p["measured_ms"] * 1e-3 * p["clock_hz"] / p["model_cycles"] for p in points]
    assert [p["ratio"] for p in points] == pytest.approx(ratios, abs=1e-3)
    assert table["calibration"]["ratio_high"] == max(p["ratio"] for p in points)
