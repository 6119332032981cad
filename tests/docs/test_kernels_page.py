"""docs/kernels.md is what tools/kernels_doc.py writes, and every kernel is on it with all it must say."""

from __future__ import annotations

import json
import re
from types import ModuleType

import pytest

from tests.tools.load import load_tool
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa
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


ISAS = {
    "cortex-m0": {Isa.C},
    "cortex-m0plus": {Isa.C},
    "cortex-m3": {Isa.C},
    "cortex-m4": {Isa.C, Isa.DSP},
    "cortex-m7": {Isa.C, Isa.DSP},
    "cortex-m33": {Isa.C, Isa.DSP},
    "cortex-m55": {Isa.C, Isa.DSP, Isa.MVE},
    "rv32imc": {Isa.C},
}


@pytest.mark.parametrize("core", ISAS)
def test_every_kernel_of_a_core_has_been_measured_on_it(core: str) -> None:
    kernels = {kernel.symbol for kernel in KERNELS if kernel.isa in ISAS[core]}
    missing = kernels - latency.TABLE["cores"][core]["kernels"].keys()
    assert not missing, "run tools/fit_latency.py --missing --write, then tools/kernels_doc.py"


@pytest.mark.parametrize("core", ISAS)
def test_the_registry_has_the_cheapest_kernel_first(core: str) -> None:
    """Where it has not, all its choices together cost within 0.5 % of the cheapest ones."""
    order = latency.TABLE["cores"][core]["order"]
    assert order["graphs"] >= 40
    assert order["first_is_cheapest"] >= 0.8 * order["graphs"]
    assert 0 <= order["lost"] < 0.005


def test_the_table_is_whole_and_says_how_good_it_is() -> None:
    table = latency.TABLE
    assert json.loads(latency.PATH.read_text()) == table
    assert set(ISAS) == set(table["cores"])
    for name, core in table["cores"].items():
        priced = name != "rv32imc"
        assert bool(core["unseen"]) == priced, "no network was left out"
        assert 0 < core["unseen_calls"]["median"] < core["unseen_calls"]["nine_in_ten"]
        for costs in core["kernels"].values():
            assert costs["layers"] > 0
            for fitted in (costs["instructions"], costs["cycles"]) if priced else (costs["instructions"],):
                assert len(fitted) == 3
                assert min(fitted) >= 0
                assert max(fitted) > 0
    points = table["calibration"]["points"]
    ratios = [p["measured_ms"] * 1e-3 * p["clock_hz"] / p["model_cycles"] for p in points]
    assert [p["ratio"] for p in points] == pytest.approx(ratios, abs=1e-3)
    assert table["calibration"]["ratio_high"] == max(p["ratio"] for p in points)
