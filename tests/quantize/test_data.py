"""Samples, labels and figures, without TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.tflite_builder import ModelBuilder
from tinyml.cli.app import cli
from tinyml.errors import UsageError
from tinyml.graph import Array
from tinyml.quantize.data import Input, Pixels, Samples, evenly, open_source

IMAGE = Input("image", "float32", (1, 4, 4, 3))


def no_images(files: object, height: int, width: int, channels: int) -> Array:
    raise AssertionError("there are no images here")


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def take(path: Path, *inputs: Input, pixels: Pixels | None = None, labels: Path | None = None) -> Samples:
    source = open_source(path, labels)
    return source.take(inputs, evenly(source.count(inputs), 100), pixels, no_images)


def refused(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["quantize", "--json", *map(str, arguments)])
    error: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == error["exit_status"] != 0
    assert error["error"] in ("UsageError", "ModelError", "ToolchainError")
    return error


def test_indices_are_spread_evenly() -> None:
    assert evenly(3, 5).tolist() == [0, 1, 2]
    assert evenly(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert len(set(evenly(1000, 7).tolist())) == 7


def test_pixels_are_scaled_then_normalised() -> None:
    values = np.array([[0, 51, 255]], np.uint8)
    assert Pixels(-1, 1).apply(values) == pytest.approx(np.array([[-1, -0.6, 1]]))
    normalised = Pixels(0, 1, (0.1, 0.2, 0.5), (0.5, 1.0, 0.25)).apply(values)
    assert normalised == pytest.approx(np.array([[-0.2, 0.0, 2.0]]))


def test_floats_are_taken_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 3))
    samples = take(save(tmp_path / "x.npz", x=x, y=[0, 1, 2, 3, 4], names=["a"]), IMAGE)
    assert len(samples) == 5
    assert samples[3][0].dtype == np.float32
    assert np.array_equal(samples[3][0], x[3:4].astype(np.float32))
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2, 3, 4]


def test_uint8_is_pixels_for_a_float_input_and_a_number_for_an_integer_one(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", x=np.full((2, 4, 4, 3), 255, np.uint8))
    assert take(path, IMAGE, pixels=Pixels(0, 1))[0][0].max() == 1
    assert take(path, Input("i", "int32", (1, 4, 4, 3)))[0][0].dtype == np.int32
    with pytest.raises(UsageError, match="what range"):
        take(path, IMAGE)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"z": np.zeros((2, 4, 4, 3), np.float32)}, "has no array x"),
        ({"x": np.zeros((0, 4, 4, 3), np.float32)}, "0 samples"),
        ({"x": np.float32(1)}, "0 samples"),
        ({"x": np.zeros((2, 4, 5, 3), np.float32)}, "do not fit"),
        ({"x": np.zeros((2, 4, 4, 3), np.int16)}, "do not fit"),
        ({"x": np.zeros((2, 4, 4, 3), bool)}, "do not fit"),
        ({"x": np.full((2, 4, 4, 3), np.nan)}, "not finite"),
        ({"x": np.full((2, 4, 4, 3), 1e300)}, "not finite"),
        ({"x": np.zeros((2, 4, 4, 3), np.float32), "y": np.zeros(3, int)}, "2 samples and 3 labels"),
        ({"x": np.zeros((2, 4, 4, 3), np.float32), "y": np.eye(2)}, "not class numbers"),
    ],
    ids=["name", "empty", "scalar", "shape", "int16", "bool", "nan", "overflow", "count", "one-hot"],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        take(save(tmp_path / "x.npz", **arrays), IMAGE)


def test_several_inputs_go_by_name_or_by_number(tmp_path: Path) -> None:
    inputs = [Input("b", "float32", (1, 2)), Input("a", "float32", (1, 2))]
    zeros, ones = np.zeros((3, 2)), np.ones((3, 2))
    for arrays in ({"a": ones, "b": zeros}, {"x0": zeros, "x1": ones}):
        first, second = take(save(tmp_path / "x.npz", **arrays), *inputs)[0]
        assert (first.max(), second.min()) == (0, 1)
    with pytest.raises(UsageError, match="has no array x1"):
        take(save(tmp_path / "x.npz", x0=zeros), *inputs)
    with pytest.raises(UsageError, match=r"2, 3 samples"):
        take(save(tmp_path / "x.npz", x0=zeros, x1=ones[:2]), *inputs)


def folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    return path


def test_class_folders_number_the_classes(tmp_path: Path) -> None:
    images = folder(tmp_path / "images", "dog/1.png", "cat/2.JPG", "cat/.hidden.png", "cat/notes.txt")
    source = open_source(images, None)
    assert [file.name for file in source.files] == ["2.JPG", "1.png"]
    assert source.classes == ("cat", "dog")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1]
    names = tmp_path / "names.txt"
    names.write_text("dog\nhorse\ncat\n")
    numbered = open_source(images, names)
    assert numbered.labels is not None
    assert numbered.labels.tolist() == [2, 0]
    names.write_text("dog\nhorse\n")
    with pytest.raises(UsageError, match="does not name"):
        open_source(images, names)
    assert open_source(folder(tmp_path / "flat", "a.png", "b.bmp"), None).labels is None


@pytest.mark.parametrize(
    ("names", "complaint"),
    [(["readme.txt"], "no images"), (["a.png", "cat/b.png"], "both beside and in class folders")],
)
def test_folders_that_hold_nothing_clear(tmp_path: Path, names: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        open_source(folder(tmp_path / "images", *names), None)


def test_without_tensorflow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    model = folder(tmp_path, "model.keras") / "model.keras"
    error = refused("--data", save(tmp_path / "x.npz", x=np.zeros((1, 2))), model)
    assert error["error"] == "ToolchainError"
    assert "pip install 'tinyml-toolchain[quantize]'" in error["hint"]


def test_models_and_files_refused_before_tensorflow_starts(tmp_path: Path, digits_model: Path) -> None:
    data = save(tmp_path / "x.npz", x=np.zeros((1, 2)))
    assert "cannot read none.keras" in refused("--data", data, tmp_path / "none.keras")["what"]
    assert "no model" in refused("--data", data, data)["what"]
    assert "no model" in refused("--data", data, tmp_path)["what"]
    int8 = shutil.copy(digits_model, tmp_path / "int8.tflite")
    error = refused("--data", data, int8)
    assert "is quantised already" in error["what"]
    assert "overwrite" in refused("--data", data, "-o", int8, int8)["what"]
    assert ".tflite" in refused("--data", data, "-o", tmp_path / "x.bin", int8)["what"]
    keras = folder(tmp_path, "model.keras") / "model.keras"
    assert "there is no gone" in refused("--data", tmp_path / "gone", keras)["what"]
    assert "cannot be read" in refused("--data", int8, keras)["what"]
    assert "come after --range" in refused("--data", data, "--mean", "0.5", keras)["what"]


def test_a_hybrid_model_is_told_to_start_from_the_float_one(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 6, 6, 4), dtype="float32")
    weights = b.constant(np.ones((4, 1, 1, 4), np.int8), 0.1)
    y = b.tensor((1, 6, 6, 4), "float32")
    b.raw_op("CONV_2D", [x, weights, -1], [y], "Conv2DOptions", StrideW=1, StrideH=1)
    b.output(y)
    model = b.save(tmp_path / "hybrid.tflite")
    error = refused("--data", save(tmp_path / "x.npz", x=np.zeros((1, 6, 6, 4), np.float32)), model)
    assert error["what"] == "hybrid.tflite is a hybrid model: float activations, weights rounded to int8"
    assert "start from the float model" in error["hint"]


@pytest.mark.parametrize(
    "option",
    [("--range", "0-1"), ("--range", "1..1"), ("--mean", "a"), ("--std", "0"), ("--samples", "0")],
    ids=" ".join,
)
def test_wrong_options(tmp_path: Path, option: tuple[str, str]) -> None:
    assert option[0] in refused("--data", "x.npz", *option, "model.keras")["what"]
