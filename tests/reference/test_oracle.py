"""The oracle's own edges: what it accepts, and how it fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_builder import ModelBuilder
from tinyml.errors import ModelError, ToolchainError, UsageError
from tinyml.oracle import Oracle, float_inputs, int8_edges
from tinyml.readers import read_model


def _float_edged(tmp_path: Path) -> Path:
    b = ModelBuilder(1)
    x = b.quantize(b.input((1, 256), dtype="float32"), 0.037, -5)
    b.output(b.dequantize(b.add(x, x)), b.mul(x, x))
    return b.save(tmp_path / "m.tflite")


def test_int8_samples_survive_the_float_edges(tmp_path: Path) -> None:
    path = _float_edged(tmp_path)
    graph = read_model(path)
    oracle = Oracle(path)
    sample = np.arange(-128, 128).astype(np.int8).reshape(1, 256)
    outputs = oracle.run_int8(graph, [sample])
    edges = int8_edges(graph)
    np.testing.assert_array_equal(oracle.tensor(graph.source_index[edges.inputs[0]]), sample, strict=True)
    assert [o.dtype for o in outputs] == [np.int8, np.int8]
    (value,) = float_inputs(graph, [sample])
    assert value.dtype == np.float32
    real, integer = oracle.run([value])
    assert real.dtype == np.float32
    np.testing.assert_array_equal(integer, outputs[1])


def test_wrong_values(tmp_path: Path) -> None:
    oracle = Oracle(_float_edged(tmp_path))
    for inputs in ([], [np.zeros((1, 255), np.float32)], [np.zeros((1, 256), np.int8)]):
        with pytest.raises(UsageError, match="input"):
            oracle.run(inputs)


def test_a_model_that_litert_refuses(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(b.conv2d(b.input((1, 4, 4, 2)), 2, bias=False))
    with pytest.raises(ModelError, match=r"LiteRT refuses m\.tflite"):
        Oracle(b.save(tmp_path / "m.tflite"))


def test_without_litert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ToolchainError, match="not installed") as caught:
        Oracle(_float_edged(tmp_path))
    assert caught.value.hint == "pip install ai-edge-litert"


def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    path = _float_edged(tmp_path).rename(tmp_path / os.fsdecode(b"caf\xe9.tflite"))
    assert len(Oracle(path).run([np.zeros((1, 256), np.float32)])) == 2


def test_inputs_on_which_litert_aborts(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(b.softmax(b.input((1, 512), scale=0.1, zero_point=0)))
    oracle = Oracle(b.save(tmp_path / "m.tflite"))
    with pytest.raises(UsageError, match="LiteRT's reference aborts"):
        oracle.run([np.zeros((1, 512), np.int8)])
    one_low = np.full((1, 512), 100, np.int8)
    one_low[0, 0] = -128
    (result,) = oracle.run([one_low])
    assert result.min() == -128 < result.max()
