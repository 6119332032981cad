"""ONNX networks, all the way: planned, built, run, and compared with the reference byte for byte."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnxruntime.quantization import QuantType

from tests.onnx_builder import OnnxBuilder
from tests.readers.test_onnx import NETWORKS, mobile, residual, shuffled
from tinyml import boards, oracle_onnx, passes
from tinyml.build import Planning, compile_model, open_target
from tinyml.cli.app import cli
from tinyml.errors import UsageError
from tinyml.planner import check
from tinyml.readers import read_model
from tinyml.verify import Dataset, file_values, verify

Network = Callable[[OnnxBuilder], None]


def save(network: Network, folder: Path, activations: QuantType = QuantType.QUInt8) -> Path:
    b = OnnxBuilder(1)
    network(b)
    return b.save_quantised(folder / f"{network.__name__}.onnx", activations=activations)


@pytest.mark.parametrize(
    ("board", "network"),
    [
        pytest.param(board, network, id=f"{board}-{network.__name__}")
        for board, networks in (
            ("host", NETWORKS),
            ("mps2-an386", (mobile, shuffled)),
            ("mps3-an547", [residual]),
        )
        for network in networks
    ],
)
def test_outputs_equal_the_reference(board: str, network: Network, tmp_path: Path) -> None:
    path = save(network, tmp_path)
    compiled = compile_model(path, boards.load(board))
    check(compiled.graph, compiled.selections, compiled.plan)
    with open_target(compiled, tmp_path / "project", toolchain="gcc") as target:
        report = verify(path, target, samples=4)
    assert (report.samples, report.mismatched_samples) == (4, 0), report.first_mismatch
    assert report.runtime is not None
    assert report.runtime.runtime.startswith("onnxruntime ")
    assert report.runtime.outputs.elements == 4 * sum(
        compiled.graph.tensors[t].elements for t in compiled.graph.outputs
    )


def test_float_edges_and_streams(tmp_path: Path) -> None:
    path = save(residual, tmp_path, QuantType.QInt8)
    for planning in (Planning(edges="float"), Planning(schedule="stream")):
        compiled = compile_model(path, boards.load("host"), planning)
        with open_target(compiled, tmp_path / planning.edges, toolchain="gcc") as target:
            report = verify(path, target, samples=4, edges=planning.edges)
        assert (report.samples, report.mismatched_samples) == (4, 0), report.first_mismatch


def test_samples_may_have_the_order_of_the_file(tmp_path: Path) -> None:
    path = save(mobile, tmp_path)
    graph = passes.run(read_model(path))
    images = np.random.default_rng(2).normal(size=(3, 3, 20, 20)).astype(np.float32)
    loaded = []
    for name, x in (("file", images), ("graph", images.transpose(0, 2, 3, 1))):
        np.savez(tmp_path / f"{name}.npz", x=x)
        loaded.append(Dataset.load(tmp_path / f"{name}.npz", graph, file_values(path)))
        np.savez(tmp_path / "wrong.npz", x=x[:, :2])
        with pytest.raises(UsageError, match="do not fit input"):
            Dataset.load(tmp_path / "wrong.npz", graph, file_values(path))
    for first, second in zip(*(dataset.inputs for dataset in loaded), strict=True):
        assert first.shape == (3, 1, 20, 20, 3)
        np.testing.assert_array_equal(first.reshape(second.shape), second)


def test_the_distance_from_onnxruntime_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte that differs, of every layer on equal inputs, and of the outputs after all of them."""
    path = save(mobile, tmp_path)
    oracle = oracle_onnx.OnnxOracle(path)
    source = oracle._model.graph
    rng = np.random.default_rng(1)
    inputs = [rng.integers(-128, 128, (1, 20, 20, 3)).astype(np.int8)]
    oracle.run_int8(source, inputs)
    before = oracle.comparison().to_json()
    assert all(0 <= layer["different"] <= layer["elements"] for layer in before["layers"])
    oracle.run_int8(source, inputs)
    again = oracle.comparison().to_json()
    counts = [[*c["layers"], c["outputs"]] for c in (before, again)]
    for first, second in zip(*counts, strict=True):
        assert (second["elements"], second["different"]) == (2 * first["elements"], 2 * first["different"])
        assert second["largest"] == first["largest"]
        assert (first["largest"] > 0) == (first["different"] > 0)
    # The first layer has onnxruntime's own inputs: a wrong bias in it is seen, and in it alone.
    conv = next(op for op in source.ops if op.kind.value == "CONV_2D")
    bias = source.tensors[conv.inputs[2]]
    assert bias.data is not None
    tensors = list(source.tensors)
    tensors[conv.inputs[2]] = dataclasses.replace(bias, data=bias.data + 20_000)
    changed_graph = source.replace(tensors=tuple(tensors))
    monkeypatch.setattr(oracle, "_model", dataclasses.replace(oracle._model, graph=changed_graph))
    oracle.run_int8(changed_graph, inputs)
    changed = oracle.comparison().to_json()
    wrong = [
        layer["name"]
        for layer, was in zip(changed["layers"], again["layers"], strict=True)
        if layer["largest"] > was["largest"]
    ]
    assert wrong == [source.tensors[conv.outputs[0]].name]


def test_verify_says_how_far_onnxruntime_is(tmp_path: Path) -> None:
    path = save(residual, tmp_path)
    arguments = ["verify", "--board", "host", "--samples", "2", str(path)]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["mismatched_samples"] == 0
    assert result["runtime"]["outputs"]["elements"] == 20
    assert {layer["op"] for layer in result["runtime"]["layers"]} >= {"CONV_2D", "ADD", "FULLY_CONNECTED"}
    text = CliRunner().invoke(cli, arguments).stdout
    assert "every output byte of 2 samples equals the reference's" in text
    assert "output bytes differ from the reference, by at most" in text
