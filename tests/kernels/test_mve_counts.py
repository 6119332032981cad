"""The Helium kernels stay within their instruction counts (emulated Cortex-M55)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels.count_dsp import build_plugin
from tests.kernels.count_mve import Shape, measure, shapes, work


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plugin(tmp_path_factory.mktemp("plugin"))


@pytest.mark.parametrize("shape", shapes(), ids=lambda shape: shape.name)
def test_instructions_of_each(shape: Shape, plugin: Path, tmp_path: Path) -> None:
    case = shape.case()
    instructions, _ = measure(shape, plugin, tmp_path)
    # fewer than 14 instructions per 128 multiply-accumulates is more than the core can do: a broken count
    assert 14 / 128 < instructions / work(case) <= shape.bound
