"""Damaged files: whatever the damage, one ModelError or a checked graph, quickly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.readers.damage import SMALL, damage_bytes, damage_structure, is_refused, small_models
from tests.shared_models import shared_models
from tinyml.readers.operators import COMPUTED, READERS
from tinyml.readers.variables import OPTIONS

CASES = 500


def test_the_small_models_use_every_operator() -> None:
    graphs = [graph for model in small_models() for graph in (model, *model.others)]
    names = {op.name for graph in graphs for op in graph.operators}
    assert names == {*READERS, *COMPUTED, *OPTIONS}


@pytest.mark.parametrize("model", range(len(SMALL)))
def test_damaged_small_models(model: int, tmp_path: Path) -> None:
    builder = SMALL[model]()
    data = builder.build()
    assert not is_refused(data, tmp_path / "m.tflite")
    rng = np.random.default_rng(model)
    refused = sum(is_refused(damage_bytes(data, rng), tmp_path / "m.tflite") for _ in range(CASES))
    assert refused > CASES // 4  # the damage reaches what is checked
    refused = sum(is_refused(damage_structure(builder, rng), tmp_path / "m.tflite") for _ in range(CASES))
    assert CASES // 4 < refused < CASES  # and leaves some that can be read
    assert builder.build() == data


def test_every_truncation(tmp_path: Path) -> None:
    data = SMALL[1]().build()
    for size in range(0, len(data), 7):
        assert is_refused(data[:size], tmp_path / "m.tflite"), size


@pytest.mark.parametrize("path", shared_models("kws", "mcunet_vww", "ad01"))
def test_damaged_real_models(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    # Damage what is structure rather than weights: both ends of the file hold the tables.
    rng = np.random.default_rng(0)
    for _ in range(100):
        is_refused(damage_bytes(data, rng), tmp_path / "m.tflite")
        tail = damage_bytes(data[-20000:], rng)
        is_refused(data[:-20000] + tail, tmp_path / "m.tflite")
