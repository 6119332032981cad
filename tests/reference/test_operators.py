"""Every operator against LiteRT's reference kernels, byte for byte, over random legal shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.reference import (
    basic_cases,
    binary_cases,
    lookup_cases,
    matrix_cases,
    movement_cases,
    recurrent_cases,
    reduction_cases,
)
from tests.reference.cases import Case
from tinyml import reference
from tinyml.oracle import Oracle
from tinyml.readers import read_model

SEEDS = 200
CASES = (
    *basic_cases.CASES,
    *binary_cases.CASES,
    *lookup_cases.CASES,
    *matrix_cases.CASES,
    *movement_cases.CASES,
    *recurrent_cases.CASES,
    *reduction_cases.CASES,
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_equals_litert(case: Callable[[Case], int], tmp_path: Path) -> None:
    distinct = 0
    for seed in range(SEEDS):
        builder = Case(seed)
        builder.output(case(builder))
        path = builder.save(tmp_path / "case.tflite")
        graph = read_model(path)
        rng = np.random.default_rng(seed)
        inputs = [builder.values(rng, graph.tensors[i]) for i in graph.inputs]
        oracle = Oracle(path)
        oracle.run(inputs)
        values = reference.run(graph, dict(zip(graph.inputs, inputs, strict=True)))
        for op in graph.ops:
            expected = oracle.tensor(graph.source_index[op.outputs[0]])
            np.testing.assert_array_equal(
                values[op.outputs[0]], expected, err_msg=f"seed {seed}: {op} {graph.tensors}", strict=True
            )
            distinct = max(distinct, len(np.unique(expected)))
    wanted = 2 if expected.dtype == np.bool_ else 20
    assert distinct >= wanted  # the comparison is not between saturated outputs
