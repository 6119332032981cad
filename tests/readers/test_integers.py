"""What operators on int32 and int64 refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tflite_builder import ModelBuilder
from tinyml.errors import ModelError, UnsupportedOp
from tinyml.readers import read_model


def _read(b: ModelBuilder, tmp_path: Path) -> None:
    read_model(b.save(tmp_path / "ids.tflite"))


@pytest.mark.parametrize("divisor", [None, [1, 0, 2]])
def test_a_divisor_that_may_be_zero(divisor: list[int] | None, tmp_path: Path) -> None:
    b = ModelBuilder()
    by = b.input((3,), dtype="int32") if divisor is None else b.constant(np.array(divisor, np.int32))
    b.output(b.integer("FLOOR_MOD", b.input((3,), dtype="int32"), by))
    with pytest.raises(ModelError, match="may be zero"):
        _read(b, tmp_path)


def test_operands_of_two_types(tmp_path: Path) -> None:
    b = ModelBuilder()
    b.output(b.integer("MINIMUM", b.input((3,), dtype="int32"), b.input((3,), dtype="int64")))
    with pytest.raises(ModelError, match="expected one type"):
        _read(b, tmp_path)


def test_a_fused_activation(tmp_path: Path) -> None:
    b = ModelBuilder()
    b.output(b.integer("ADD", b.input((3,), dtype="int32"), b.input((3,), dtype="int32"), table="AddOptions"))
    b.operators[-1].options["FusedActivationFunction"] = 1
    with pytest.raises(ModelError, match="fused activation"):
        _read(b, tmp_path)


def test_an_output_of_another_type(tmp_path: Path) -> None:
    b = ModelBuilder()
    y = b.integer("SUB", b.input((3,), dtype="int32"), b.input((3,), dtype="int32"), table="SubOptions")
    b.tensors[y].dtype = "int64"
    b.output(y)
    with pytest.raises(ModelError, match="has type int64"):
        _read(b, tmp_path)


@pytest.mark.parametrize("name", ["FLOOR_DIV", "FLOOR_MOD"])
def test_int8_says_what_to_do(name: str, tmp_path: Path) -> None:
    b = ModelBuilder()
    b.output(b.binary(name, b.input((3,)), b.input((3,)), 0.1))
    with pytest.raises(UnsupportedOp, match="LiteRT divides the bytes"):
        _read(b, tmp_path)


def test_a_power_of_something_computed(tmp_path: Path) -> None:
    b = ModelBuilder()
    operands = [b.dequantize(b.input((3,))) for _ in range(2)]
    b.output(b.quantize(b._op("POW", operands, b.tensor((3,), "float32")), 0.1))
    with pytest.raises(ModelError, match="not one constant"):
        _read(b, tmp_path)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("ONE_HOT", "identity matrix"), ("REDUCE_ANY", "reduce_max"), ("WHERE", "condition, a, b")],
)
def test_what_goes_with_ids_and_masks_says_what_to_do(name: str, advice: str, tmp_path: Path) -> None:
    b = ModelBuilder()
    x = b.input((3,), dtype="bool")
    b.output(b._op(name, [x], b.tensor((3,), "bool")))
    with pytest.raises(UnsupportedOp, match=f"op 0 {name} .*{advice}"):
        _read(b, tmp_path)
