"""`tinyml quantize` with TensorFlow: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tinyml import passes, reference
from tinyml.cli.app import cli
from tinyml.graph import DType, Graph, LoopAttrs
from tinyml.oracle import Oracle
from tinyml.readers.tflite import read_model

# Where the suite itself installs everything, a missing TensorFlow is a failure.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None and not os.environ.get("CI"),
    reason="TensorFlow is not installed: pip install -e '.[quantize]'",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that networks.py fills."""
    folder = tmp_path_factory.mktemp("networks")
    script = Path(__file__).with_name("networks.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in arguments])


def quantize(*arguments: object, status: int = 0) -> dict[str, Any]:
    result = invoke("quantize", "--json", *arguments)
    assert result.exit_code == status, result.output
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def content(graph: Graph) -> list[Any]:
    """Return operators, constants and quantisation, without names: what a network computes."""
    return [
        (
            op.kind,
            op.attrs,
            [
                None
                if t < 0
                else (
                    graph.tensors[t].shape,
                    graph.tensors[t].dtype,
                    graph.tensors[t].quant,
                    None if (data := graph.tensors[t].data) is None else data.tobytes(),
                )
                for t in (*op.inputs, *op.outputs)
            ],
        )
        for op in graph.ops
    ]


@pytest.mark.parametrize(
    ("model", "converted"),
    [
        ("net_saved", "single_saved.tflite"),  # the batch becomes 1
        ("net.tflite", "net_saved.tflite"),
    ],
)
def test_the_network_is_the_one_of_tensorflows_converter(
    made: Path, tmp_path: Path, model: str, converted: str
) -> None:
    out = tmp_path / "out.tflite"
    report = quantize("--data", made / "float.npz", "-o", out, made / model)
    assert content(read_model(out)) == content(read_model(made / converted))
    assert report["int8_bytes"] == out.stat().st_size
    assert report["calibration_samples"] == report["test_samples"] == 30
    (source,), (target,) = report["inputs"], report["outputs"]
    assert (source["name"], source["dtype"], source["shape"]) == ("image", "int8", [1, 8, 8, 3])
    assert source["scale"] == pytest.approx(1 / 255, rel=1e-2)
    assert target["scale"] == pytest.approx(1 / 256)
    assert target["sqnr_db"] > 20
    assert 0 < target["max_error"] < 0.1
    assert report["float_right"] > 25  # the colours decide, and both models see them
    assert report["int8_right"] > 25
    assert report["notes"] == []


def test_a_keras_model_is_as_accurate_as_its_saved_model(made: Path, tmp_path: Path) -> None:
    """Its layers may be laid out in other operators, since the batch is 1 before they are built."""
    keras = quantize("--data", made / "float.npz", "-o", tmp_path / "keras.tflite", made / "net.keras")
    saved = quantize("--data", made / "float.npz", "-o", tmp_path / "saved.tflite", made / "net_saved")
    assert keras["inputs"] == saved["inputs"]
    assert keras["int8_right"] == saved["int8_right"]
    assert keras["outputs"][0]["sqnr_db"] == pytest.approx(saved["outputs"][0]["sqnr_db"], abs=3)


def test_the_accuracy_is_the_one_that_verify_finds(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    report = quantize("--data", made / "float.npz", "--samples", 7, "-o", out, made / "net.tflite")
    assert report["calibration_samples"] == 7
    verified = invoke("verify", "--json", "--board", "host", "--data", made / "float.npz", out)
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["accuracy"] == report["int8_accuracy"]


def test_float_edges(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    report = quantize("--data", made / "float.npz", "--edges", "float", "-o", out, made / "net.tflite")
    assert [edge["dtype"] for edge in (*report["inputs"], *report["outputs"])] == ["float32", "float32"]
    assert report["inputs"][0]["scale"] is None
    kinds = [op.kind for op in read_model(out).ops]
    assert (kinds[0], kinds[-1]) == ("QUANTIZE", "DEQUANTIZE")
    assert report["outputs"][0]["sqnr_db"] > 20


@pytest.mark.parametrize("model", ["net.tflite", "wide_saved"])
def test_int16_activations(made: Path, tmp_path: Path, model: str) -> None:
    """What TensorFlow's converter makes with 16x8, and the same bytes on the host and an emulated core."""
    out, data = tmp_path / "out.tflite", "float.npz" if model == "net.tflite" else "wide.npz"
    report = quantize("--data", made / data, "--activations", "int16", "-o", out, made / model)
    if model == "wide_saved":
        assert content(read_model(out)) == content(read_model(made / "wide_saved.tflite"))
    assert [edge["dtype"] for edge in (*report["inputs"], *report["outputs"])] == ["int16", "int16"]
    assert report["outputs"][0]["sqnr_db"] > 30
    for board in ("host", "mps2-an386"):
        if board == "host" or shutil.which("qemu-system-arm"):
            verified = invoke("verify", "--json", "--board", board, "--schedule", "stream", out)
            assert verified.exit_code == 0, verified.output


def test_images_and_pixels_are_scaled_as_asked(made: Path, tmp_path: Path) -> None:
    """A folder of images, the same pixels as an array, and the same as floats give the same network."""
    files = {}
    for name, data in (("folder", "images"), ("array", "pixels.npz")):
        files[name] = tmp_path / f"{name}.tflite"
        report = quantize(
            "--data", made / data, "--range", "-1..1", "--mean", "0.1,0.2,0.3", "--std", "0.5",
            "-o", files[name], made / "net.tflite",
        )  # fmt: skip
    x = np.load(made / "pixels.npz")["x"]
    scaled = (x / 127.5 - 1 - [0.1, 0.2, 0.3]) / 0.5
    np.save(tmp_path / "scaled.npy", scaled)
    files["floats"] = tmp_path / "floats.tflite"
    quantize("--data", tmp_path / "scaled.npy", "-o", files["floats"], made / "net.tflite")
    assert content(read_model(files["array"])) == content(read_model(files["floats"]))
    # The folder's order is by class: other sums of ranges are not possible, they are extremes.
    assert content(read_model(files["folder"])) == content(read_model(files["array"]))
    assert report["inputs"][0]["scale"] == pytest.approx((scaled.max() - scaled.min()) / 255, rel=1e-3)


def test_class_folders_are_labels(made: Path, tmp_path: Path) -> None:
    """Folders b, g, r are not in the order of the outputs: --labels gives that."""
    out = tmp_path / "out.tflite"
    arguments = ["--data", made / "images", "--range", "0..1", "-o", out, made / "net.tflite"]
    wrong = quantize(*arguments)
    assert wrong["float_right"] <= 12
    assert "no better than chance" in wrong["notes"][0]
    names = tmp_path / "names.txt"
    names.write_text("r\ng\nb\n")
    right = quantize("--labels", names, *arguments)
    by_number = quantize("--data", made / "float.npz", "-o", out, made / "net.tflite")
    assert right["float_right"] == by_number["float_right"] > 25
    assert right["notes"] == []


def test_a_test_set_of_its_own(made: Path, tmp_path: Path) -> None:
    x = np.load(made / "float.npz")["x"]
    np.save(tmp_path / "x.npy", x[:10])
    np.save(tmp_path / "y.npy", np.arange(10) % 3)
    out = tmp_path / "out.tflite"
    report = quantize(
        "--data", made / "images", "--range", "0..1", "--test", tmp_path / "pixels.npz", "-o", out,
        made / "net.tflite", status=2,
    )  # fmt: skip
    assert "no pixels.npz" in report["what"]
    report = quantize(
        "--data", made / "float.npz", "--test", tmp_path / "x.npy", "--labels", tmp_path / "y.npy",
        "--test-samples", 6, "-o", out, made / "net.tflite",
    )  # fmt: skip
    assert (report["calibration_samples"], report["test_samples"]) == (30, 6)
    assert report["float_right"] == 6


def test_a_model_that_scales_its_input_needs_no_range(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    report = quantize("--data", made / "images", "-o", out, made / "rescaling.keras")
    assert report["inputs"][0]["scale"] == pytest.approx(1, rel=0.01)
    refused = quantize("--data", made / "images", "-o", out, made / "net.keras", status=2)
    assert "--range 0..1" in refused["hint"]


def test_images_of_another_size(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    arguments = ["--data", made / "other", "--range", "0..1", "-o", out, made / "net.tflite"]
    refused = quantize(*arguments, status=2)
    assert refused["what"] == "large.JPG has 24x16 pixels"
    assert "--resize" in refused["hint"]
    assert not out.exists()
    for how in ("stretch", "crop"):
        assert quantize("--resize", how, *arguments)["calibration_samples"] == 1


def test_inputs_by_name_and_by_number(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    report = quantize("--data", made / "two.npz", "-o", out, made / "two.keras")
    scales = {edge["name"]: edge["scale"] for edge in report["inputs"]}
    assert 0 < scales["small"] < 0.005
    assert 0.3 < scales["large"] < 0.5
    assert {edge["name"]: edge["shape"] for edge in report["outputs"]} == {
        "output_0": [1, 3],
        "output_1": [1, 2],
    }
    assert min(edge["sqnr_db"] for edge in report["outputs"]) > 20
    arrays = np.load(made / "two.npz")
    numbered = {f"x{i}": arrays[edge["name"]] for i, edge in enumerate(report["inputs"])}
    np.savez(tmp_path / "numbered.npz", **numbered)
    other = tmp_path / "other.tflite"
    quantize("--data", tmp_path / "numbered.npz", "-o", other, made / "two.keras")
    assert content(read_model(out)) == content(read_model(other))


def test_open_sizes_are_those_of_the_samples(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    report = quantize("--data", made / "float.npz", "--labels", out, "-o", out, made / "open.keras", status=2)
    assert "out.tflite" in report["what"]
    x = np.load(made / "float.npz")["x"]
    np.save(tmp_path / "x.npy", x)
    report = quantize("--data", tmp_path / "x.npy", "-o", out, made / "open.keras")
    assert report["inputs"][0]["shape"] == [1, 8, 8, 3]
    refused = quantize("--data", made / "images", "-o", out, made / "open.keras", status=2)
    assert "open size" in refused["what"]


def test_recurrent_layers_are_unrolled(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    result = invoke(
        "quantize", "--json", "--data", made / "sequence.npz", "-o", out, made / "recurrent.keras"
    )
    report = json.loads(result.stdout)
    assert "unrolled" in report["notes"][0]
    assert report["outputs"][0]["sqnr_db"] > 20
    refused = quantize("--data", made / "sequence.npz", "-o", out, made / "recurrent_saved", status=2)
    assert "unroll=True" in refused["hint"]


def test_loops_of_a_float_file_stay_loops(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    report = quantize("--data", made / "sequence.npz", "-o", out, made / "loops.tflite")
    assert report["outputs"][0]["sqnr_db"] > 15
    graph = passes.run(read_model(out))
    bodies = [op.attrs.body for op in graph.ops if isinstance(op.attrs, LoopAttrs)]
    assert [len(body.states) for body in bodies] == [2, 1]
    assert {t.dtype for body in bodies for t in body.tensors} <= {DType.INT8, DType.INT32}
    x = np.random.default_rng(1).integers(-128, 128, (1, 6, 4)).astype(np.int8)
    (expected,) = Oracle(out).run([x])
    np.testing.assert_array_equal(reference.run(graph, {graph.inputs[0]: x})[graph.outputs[0]], expected)
    arguments = ("--activations", "int16", "-o", out, made / "loops.tflite")
    refused = quantize("--data", made / "sequence.npz", *arguments, status=2)
    assert "loops to int16" in refused["what"]


def test_a_result_that_tinyml_cannot_build_is_written_and_told(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    report = quantize("--data", made / "matrix.npz", "-o", out, made / "cumsum.keras", status=2)
    assert report["error"] == "UnsupportedOp"
    assert "CUMSUM" in report["what"]
    assert report["outputs"][0]["sqnr_db"] > 20
    assert out.is_file()


@pytest.mark.parametrize(
    ("model", "complaint"), [("lambda.keras", "cannot load"), ("damaged.keras", "cannot load")]
)
def test_models_that_keras_cannot_load(made: Path, tmp_path: Path, model: str, complaint: str) -> None:
    damaged = made / "damaged.keras"
    damaged.write_bytes((made / "net.keras").read_bytes()[:1000])
    error = quantize("--data", made / "float.npz", "-o", tmp_path / "out.tflite", made / model, status=2)
    assert error["error"] == "ModelError"
    assert complaint in error["what"]
    assert "saved_model" in error["hint"]


def test_the_end_of_tensorflows_process_is_one_error(made: Path) -> None:
    from tinyml.errors import ToolchainError
    from tinyml.quantize.converter import Converter

    with Converter() as converter, pytest.raises(ToolchainError, match="ended its process") as caught:
        converter.ask("no such step")
    assert "no such step" in str(caught.value)


def test_the_report_is_readable_and_names_the_next_command(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "my out.tflite"
    result = invoke("quantize", "--data", made / "float.npz", "-o", out, made / "net.tflite")
    assert result.exit_code == 0
    assert "accuracy   float 30 of 30 right (100.0%), int8 30 of 30 right (100.0%)" in result.stdout
    assert f"tinyml build --board ID '{out}'" in result.stdout
    assert result.stderr == ""
