"""Every operator against LiteRT's reference kernels, byte for byte, over random legal shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.reference import (
    basic_cases,
    binary_cases,
    integer_cases,
    lookup_cases,
    matrix_cases,
    movement_cases,
    recurrent_cases,
    reduction_cases,
    wide_cases,
)
from tests.reference.cases import Case
from tinyml import reference
from tinyml.errors import UsageError
from tinyml.numerics.reduction import sum_params
from tinyml.oracle import Oracle
from tinyml.readers import read_model

SEEDS = 200
CASES = (
    *basic_cases.CASES,
    *recurrent_cases.CASES,
    *binary_cases.CASES,
    *integer_cases.CASES,
    *lookup_cases.CASES,
    *matrix_cases.CASES,
    *movement_cases.CASES,
    *reduction_cases.CASES,
    *wide_cases.CASES,
)


def test_sum_equals_litert(tmp_path: Path) -> None:
    """LiteRT's reference SUM reads int8 as uint8 (its issue 4079), so it is compared with the optimised one.

    That rounds once, in float, where the reference rounds twice, in integers: within the second rounding's
    step of a half a sum may go either way.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    distinct: set[int] = set()
    compared = 0
    for seed in range(SEEDS):
        builder = Case(seed)
        builder.output(reduction_cases.sum_(builder))
        path = builder.save(tmp_path / "case.tflite")
        graph = read_model(path)
        x = builder.values(np.random.default_rng(seed), graph.tensors[graph.inputs[0]])
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(model_content=path.read_bytes(), experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        value = reference.run(graph, {graph.inputs[0]: x})[graph.outputs[0]]
        source, output = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
        axes = graph.ops[0].attrs.axes
        centred = (x.astype(np.int64) - source.zero_point).sum(axis=axes).reshape(output.shape)
        real = centred * (source.scale / output.scale)
        step = 2.0 ** min(sum_params(graph, graph.ops[0]).shift, 0)
        halfway = np.abs(real - np.floor(real) - 0.5) <= (step if step < 1 else 0.01)
        assert np.array_equal(value[~halfway], expected[~halfway]), f"seed {seed}: {graph.tensors}"
        assert (np.abs(value.astype(int) - expected) <= 1).all()
        compared += int((~halfway).sum())
        distinct |= set(np.unique(expected).tolist())
        with pytest.raises(UsageError, match="reads int8 as uint8"):
            Oracle(path).run([x])
    assert len(distinct) > 100
    assert compared > 4000


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
