"""What random cases of elementwise operators do not reach: ELU, saturated casts, inputs without a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.reference.cases import Case
from tests.tflite_builder import ModelBuilder
from tinyml import passes, reference
from tinyml.errors import UsageError
from tinyml.graph import DType, LookupAttrs, OpKind
from tinyml.oracle import Oracle, int8_edges
from tinyml.readers import read_model


def test_elu_equals_litert(tmp_path: Path) -> None:
    """LiteRT's resolver of reference kernels has no ELU: here its other kernels, which use the same table."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    for seed in range(200):
        c = Case(seed)
        x = c.input((256,), c.log_scale(-3, 0))
        c.output(c.unary("ELU", x, c.log_scale(-1, 1, c.tensors[x].scale[0])))
        content = c.build()
        litert = interpreter.Interpreter(
            model_content=content,
            experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        litert.allocate_tensors()
        litert.set_tensor(0, np.arange(-128, 128).astype(np.int8))
        litert.invoke()
        (tmp_path / "elu.tflite").write_bytes(content)
        attrs = read_model(tmp_path / "elu.tflite").ops[0].attrs
        assert isinstance(attrs, LookupAttrs)
        np.testing.assert_array_equal(attrs.table, litert.get_tensor(1))


FLOAT_FUNCTIONS = ("CEIL", "COS", "ELU", "FLOOR", "NEG", "POW", "ROUND", "SIGN", "SIN", "SQUARE")


@pytest.mark.parametrize("name", [*FLOAT_FUNCTIONS, "NOT_EQUAL"])
def test_a_function_between_dequantize_and_quantize_equals_litert(name: str, tmp_path: Path) -> None:
    """LiteRT's resolver of reference kernels lacks some: here its other kernels, of the same C functions."""
    lacking = name in ("CEIL", "ELU", "ROUND")
    resolver = "BUILTIN_WITHOUT_DEFAULT_DELEGATES" if lacking else "BUILTIN_REF"
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    every = np.arange(-128, 128).astype(np.int8)
    distinct = 0
    for seed in range(25):
        c = Case(seed)
        power = c.pick(0.5, 2, 3, 1.7, 0)
        # What is no number has no int8 in C: a root of something negative.
        x = c.input((256,), c.log_scale(-3, 0), -128 if power % 1 else None)
        operands = [c.dequantize(x)]
        if name in ("POW", "NOT_EQUAL"):
            step = c.tensors[x].scale[0] * np.float32(c.below(-5, 6))
            operands.append(c.constant(np.array(power if name == "POW" else step, np.float32)))
        y = c.tensor((256,), "bool" if name == "NOT_EQUAL" else "float32")
        c._op(name, operands, y)
        c.output(y if name == "NOT_EQUAL" else c.quantize(y, c.log_scale(-2, 1)))
        litert = interpreter.Interpreter(
            model_content=c.build(),
            experimental_op_resolver_type=getattr(interpreter.OpResolverType, resolver),
        )
        litert.allocate_tensors()
        litert.set_tensor(x, every)
        litert.invoke()
        graph = passes.run(read_model(c.save(tmp_path / "island.tflite")))
        assert [op.kind for op in graph.ops] == [OpKind.LOOKUP]
        output = reference.run(graph, {graph.inputs[0]: every})[graph.outputs[0]]
        np.testing.assert_array_equal(output, litert.get_tensor(c.outputs[0]), f"seed {seed}", strict=True)
        distinct = max(distinct, len(np.unique(output)))
    assert distinct >= (2 if name == "NOT_EQUAL" else 3)


def test_a_mask_becomes_a_table_of_two_entries(tmp_path: Path) -> None:
    """What Keras makes of `cast(x != 0)`: the float between bool and int8 goes."""
    b = ModelBuilder(1)
    ids = b.input((9,), dtype="int32")
    number = b.cast(b.relation("NOT_EQUAL", ids, b.constant(np.array(0, np.int32))), "float32")
    b.output(b.quantize(number, 1 / 255, -128))
    path = b.save(tmp_path / "mask.tflite")
    graph = passes.run(read_model(path))
    assert [op.kind for op in graph.ops] == [OpKind.INTEGER, OpKind.LOOKUP]
    x = np.array([0, 1, -1, 5, 0, 0, 2**31 - 1, -(2**31), 0], np.int32)
    output = reference.run(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    np.testing.assert_array_equal(output, np.where(x == 0, -128, 127).astype(np.int8), strict=True)
    np.testing.assert_array_equal(output, Oracle(path).run([x])[0])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "bool"])
def test_casts_of_floats_saturate(dtype: str, tmp_path: Path) -> None:
    values = [1e30, -1e30, np.inf, -np.inf, np.nan, 127.5, 128.0, -128.9, -129.0, 32767.5, 32768.0, -32769.0]
    values += [2147483520.0, 2147483648.0, -2147483648.0, 3e9, 9e18, 1e19, -1e19, 0.3, -0.3, -0.0, 1e-40]
    b = ModelBuilder(1)
    b.output(b.cast(b.input((len(values),), dtype="float32"), dtype))
    graph = read_model(b.save(tmp_path / "cast.tflite"))
    x = np.array(values, np.float32)
    expected = Oracle(tmp_path / "cast.tflite").run([x])[0]
    np.testing.assert_array_equal(reference.run(graph, {0: x})[1], expected, strict=True)


def test_a_float_input_that_is_cast_stays_float(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(b.cast(b.input((3,), dtype="float32"), "int8"))
    graph = read_model(b.save(tmp_path / "cast.tflite"))
    assert int8_edges(graph).inputs == graph.inputs
    rewritten = passes.run(graph)
    assert rewritten.tensors[rewritten.inputs[0]].dtype is DType.FLOAT32


@pytest.mark.parametrize("name", ["SQRT", "RSQRT"])
def test_roots_of_negative_numbers_have_no_reference(name: str, tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(b.unary(name, b.input((4,), 0.1, 0), 0.1, 0))
    oracle = Oracle(b.save(tmp_path / "root.tflite"))
    with pytest.raises(UsageError, match="no result for these inputs"):
        oracle.run([np.array([1, 2, -3, 4], np.int8)])
