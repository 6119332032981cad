"""Inputs that random samples draw so that no index computed from them lies outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_builder import ModelBuilder
from tinyml import passes
from tinyml.oracle import Oracle
from tinyml.readers import read_model
from tinyml.reference import index_ranges
from tinyml.verify import _value_ranges, random_inputs

ROWS = 20


def _number(b: ModelBuilder, value: int) -> int:
    return b.constant(np.array(value, np.int32))


def _add(b: ModelBuilder, x: int) -> int:
    return b.integer("ADD", x, _number(b, 3), table="AddOptions")


def _subtract(b: ModelBuilder, x: int) -> int:
    return b.integer("SUB", x, _number(b, 5), table="SubOptions")


def _double(b: ModelBuilder, x: int) -> int:
    return b.integer("MUL", _number(b, 2), x, table="MulOptions")


def _distance(b: ModelBuilder, x: int) -> int:
    return b.integer("ABS", b.integer("NEG", _subtract(b, x)))


def _remainder(b: ModelBuilder, x: int) -> int:
    return b.integer("FLOOR_MOD", x, _number(b, 7))


def _quotient(b: ModelBuilder, x: int) -> int:
    return b.integer("FLOOR_DIV", x, _number(b, 2))


def _square(b: ModelBuilder, x: int) -> int:
    return b.integer("SQUARED_DIFFERENCE", x, _number(b, 4))


def _bounded(b: ModelBuilder, x: int) -> int:
    return b.integer("MINIMUM", b.integer("MAXIMUM", _subtract(b, x), _number(b, 0)), _number(b, 19))


def _from_the_end(b: ModelBuilder, x: int) -> int:
    wrapped = b.integer("ADD", x, _number(b, ROWS), table="AddOptions")
    return b.select(b.relation("LESS", x, _number(b, 0)), wrapped, x)


def _moved(b: ModelBuilder, x: int) -> int:
    other = b.integer("ADD", x, b.input((1, 6), dtype="int32"), table="AddOptions")
    return b.slice(b.reshape(b.concatenation([other, x], 1), (12,)), (1,), (7,))


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (_add, (0, 9)),
        (_subtract, (7, 19)),
        (_double, (0, 9)),
        (_distance, (0, 19)),
        (_remainder, (0, 19)),
        (_quotient, (0, 19)),
        (_square, (0, 4)),
        (_bounded, (0, 19)),
        (_from_the_end, (0, 19)),
        (_moved, (0, 9)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_random_samples_have_a_result(
    compute: Callable[[ModelBuilder, int], int], expected: tuple[int, int], tmp_path: Path
) -> None:
    b = ModelBuilder(3)
    x = b.input((1, 6), dtype="int32")
    table = b.constant(b.rng.integers(-128, 128, (ROWS, 4)).astype(np.int8), 0.1, 3)
    b.output(b.gather(table, compute(b, x)))
    path = b.save(tmp_path / "ids.tflite")
    graph = read_model(path)
    assert index_ranges(graph) == dict.fromkeys(graph.inputs, expected)
    ranges = _value_ranges(graph, passes.run(graph))
    oracle = Oracle(path)
    drawn = [random_inputs(ranges, 0, i) for i in range(20)]
    for sample in drawn:
        oracle.run(sample)  # it fails on an index outside
    values = np.concatenate([np.concatenate(sample) for sample in drawn])
    assert len(np.unique(values)) > 4


def test_inputs_that_choose_nothing_are_left_out(tmp_path: Path) -> None:
    b = ModelBuilder(3)
    b.output(_add(b, b.input((1, 6), dtype="int32")))
    assert index_ranges(read_model(b.save(tmp_path / "sum.tflite"))) == {}
