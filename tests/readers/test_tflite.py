"""What the reader accepts, what it makes of it, and what it says about everything else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_builder import ModelBuilder
from tinyml import passes, reference
from tinyml.errors import ModelError, UnsupportedOp
from tinyml.graph import (
    Activation,
    ActivationAttrs,
    Array,
    DType,
    Graph,
    NoAttrs,
    OpKind,
    PadAttrs,
    Pads,
    ReduceAttrs,
    ResizeAttrs,
    SoftmaxAttrs,
    TransposeAttrs,
    WindowAttrs,
)
from tinyml.oracle import Oracle
from tinyml.readers import read_model
from tinyml.readers.operators import READERS
from tinyml.readers.tensors import window_extent
from tinyml.readers.tflite import identifier


def _read(builder: ModelBuilder, tmp_path: Path, name: str = "m.tflite") -> Graph:
    return read_model(builder.save(tmp_path / name))


def _one(
    tmp_path: Path, build: Callable[[ModelBuilder, int], int], shape: tuple[int, ...] = (1, 9, 7, 4)
) -> Graph:
    b = ModelBuilder(1)
    b.output(build(b, b.input(shape)))
    return _read(b, tmp_path)


def test_a_network(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 9, 7, 4), dtype="float32", name="serving_default_image:0")
    y = b.conv2d(b.quantize(x, 0.5, -3), 8, (3, 5), stride=(2, 1), activation="relu6")
    b.output(b.dequantize(y))
    graph = _read(b, tmp_path, "My Net-2.tflite")

    assert graph.name == "my_net_2"
    assert graph.sha256 == hashlib.sha256((tmp_path / "My Net-2.tflite").read_bytes()).hexdigest()
    assert [op.kind for op in graph.ops] == [OpKind.QUANTIZE, OpKind.CONV_2D, OpKind.DEQUANTIZE]
    conv = graph.ops[1]
    assert conv.attrs == WindowAttrs(3, 5, 2, 1, 1, 1, Pads(1, 2, 1, 2), Activation.RELU6)
    assert [graph.tensors[i].shape for i in conv.inputs] == [(1, 9, 7, 4), (8, 3, 5, 4), (8,)]
    assert graph.tensors[conv.inputs[0]].scale == 0.5
    assert graph.tensors[conv.inputs[0]].zero_point == -3
    weights = graph.tensors[conv.inputs[1]]
    assert weights.quant is not None
    assert weights.quant.per_channel
    assert weights.data is not None
    assert not weights.data.flags.writeable
    assert graph.tensors[graph.inputs[0]].name == "serving_default_image:0"
    assert [graph.tensors[i].dtype for i in (*graph.inputs, *graph.outputs)] == ["float32", "float32"]
    for index, source in enumerate(graph.source_index):
        assert graph.tensors[index].shape == b.shape(source)


@pytest.mark.parametrize(
    ("build", "attrs", "shape"),
    [
        (
            lambda b, x: b.pad(x, [(0, 0), (1, 2), (0, 3), (0, 0)]),
            PadAttrs(((0, 0), (1, 2), (0, 3), (0, 0))),
            (1, 12, 10, 4),
        ),
        (lambda b, x: b.transpose(x, (0, 3, 1, 2)), TransposeAttrs((0, 3, 1, 2)), (1, 4, 9, 7)),
        (lambda b, x: b.mean(x, [-2, 1, 1], True), ReduceAttrs((1, 2), True), (1, 1, 1, 4)),
        (lambda b, x: b.mean(x, [3]), ReduceAttrs((3,), False), (1, 9, 7)),
        (lambda b, x: b.softmax(x, 0.5), SoftmaxAttrs(0.5), (1, 9, 7, 4)),
        (lambda b, x: b.resize_nearest(x, (3, 20), True), ResizeAttrs(True, False), (1, 3, 20, 4)),
        (lambda b, x: b.reshape(x, (63, 4)), NoAttrs(), (63, 4)),
        (lambda b, x: b.add(x, x, "relu"), ActivationAttrs(Activation.RELU), (1, 9, 7, 4)),
        (lambda b, x: b.average_pool(x, (2, 3), stride=(1, 2)), WindowAttrs(2, 3, 1, 2), (1, 8, 3, 4)),
        (
            lambda b, x: b.depthwise(x, 3, 3, dilation=(2, 1), padding="VALID"),
            WindowAttrs(3, 3, dilation_h=2),
            (1, 5, 5, 12),
        ),
    ],
)
def test_attributes(build: Callable, attrs: object, shape: tuple[int, ...], tmp_path: Path) -> None:
    graph = _one(tmp_path, build)
    (op,) = graph.ops
    assert op.attrs == attrs
    assert graph.tensors[op.outputs[0]].shape == shape
    # Inputs that only carry attributes are gone.
    assert len(graph.tensors) == len({*graph.inputs, *op.inputs, *op.outputs} - {-1})


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "expected"),
    [
        (5, 3, 1, 1, (5, 1, 1)),
        (6, 3, 2, 1, (3, 0, 1)),  # asymmetric: the odd pixel goes behind
        (5, 3, 2, 1, (3, 1, 1)),
        (5, 2, 1, 1, (5, 0, 1)),
        (7, 3, 1, 3, (7, 3, 3)),
        (7, 1, 3, 1, (3, 0, 0)),
        (1, 5, 2, 1, (1, 2, 2)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, dilation: int, expected: tuple[int, ...]) -> None:
    assert window_extent(size, kernel, stride, dilation, padding=0) == expected


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("kws", "kws"),
        ("My Model (v2)", "my_model_v2"),
        ("2fast", "model_2fast"),
        ("int", "model_int"),
        ("class", "model_class"),
        ("string", "model_string"),
        ("main", "model_main"),
        ("tm_runtime", "model_tm_runtime"),
        ("tm", "model_tm"),
        ("app", "model_app"),
        ("---", "model_0"),
        ("", "model_0"),
        ("naïve", "na_ve"),
        ("a\n#include <x>", "a_include_x"),
        ("x" * 300, "x" * 48),
    ],
)
def test_names_are_c_identifiers(stem: str, name: str) -> None:
    assert identifier(stem) == name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)


def test_tensor_names_cannot_end_a_comment(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 4), name='*/ system("x"); /*\n\\')
    b.output(b.add(x, x))
    name = _read(b, tmp_path).tensors[0].name
    assert not set(name) & set('*"\\\n')


def test_dynamic_batch_is_one(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((-1, 4, 4, 3))
    b.tensors[x].signature = (-1, 4, 4, 3)
    b.output(b.max_pool(x))
    graph = _read(b, tmp_path)
    assert graph.tensors[graph.inputs[0]].shape == (1, 4, 4, 3)
    assert graph.tensors[graph.outputs[0]].shape == (1, 2, 2, 3)


def test_squeeze_and_expand_dims_are_reshapes(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 1, 5))
    y, z = b.tensor((1, 5), scale=0.05, zero_point=0), b.tensor((1, 1, 5), scale=0.05, zero_point=0)
    b.raw_op("SQUEEZE", [x], [y])
    b.raw_op("EXPAND_DIMS", [y, b.constant(np.array(1, np.int32))], [z])
    b.output(z)
    assert [op.kind for op in _read(b, tmp_path).ops] == [OpKind.RESHAPE] * 2


def test_constants_behind_the_flatbuffer(tmp_path: Path) -> None:
    """Large models keep constants at offsets from the file's start."""
    inside, behind = _network(), _network()
    behind.external = True
    one, two = _read(inside, tmp_path, "one.tflite"), _read(behind, tmp_path, "two.tflite")
    for a, b in zip(one.tensors, two.tensors, strict=True):
        assert (a.data is None) == (b.data is None)
        if a.data is not None:
            np.testing.assert_array_equal(a.data, b.data, strict=True)
    path = tmp_path / "two.tflite"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is damaged"):
        read_model(path)


def _network() -> ModelBuilder:
    """Return conv → depthwise → add → dense, to be damaged by tests."""
    b = ModelBuilder(3)
    x = b.input((1, 6, 6, 4))
    y = b.depthwise(b.conv2d(x, 4), 1)
    b.output(b.fully_connected(b.mean(b.add(x, y), [1, 2]), 5))
    return b


def _op(b: ModelBuilder, name: str) -> object:
    return next(op for op in b.operators if op.name == name)


def _set(name: str, **options: object) -> Callable[[ModelBuilder], None]:
    return lambda b: _op(b, name).options.update(options)


def _tensor(name: str, position: int, **fields: object) -> Callable[[ModelBuilder], None]:
    """Change a field of an operator's input (or output, at −1)."""

    def change(b: ModelBuilder) -> None:
        op = _op(b, name)
        record = b.tensors[op.outputs[0] if position < 0 else op.inputs[position]]
        for key, value in fields.items():
            assert hasattr(record, key)
            setattr(record, key, value)

    return change


def _inputs(name: str, change: Callable[[list[int]], list[int]]) -> Callable[[ModelBuilder], None]:
    def apply(b: ModelBuilder) -> None:
        op = _op(b, name)
        op.inputs = change(op.inputs)

    return apply


NAN, INF = float("nan"), float("inf")
MALFORMED: dict[str, tuple[Callable[[ModelBuilder], None], str]] = {
    "stride 0": (_set("CONV_2D", StrideH=0), "stride 0"),
    "stride negative": (_set("DEPTHWISE_CONV_2D", StrideW=-1), "stride -1"),
    "stride huge": (_set("CONV_2D", StrideH=2**31 - 1), "stride 2147483647"),
    "dilation 0": (_set("CONV_2D", DilationHFactor=0), "dilation 0"),
    "dilation huge": (_set("CONV_2D", DilationHFactor=2**30), "reaches over"),
    "padding unknown": (_set("CONV_2D", Padding=2), "padding 2"),
    "activation unknown": (_set("ADD", FusedActivationFunction=4), "fused activation 4"),
    "window too large": (_set("CONV_2D", Padding=1, DilationHFactor=9), "does not fit"),
    "scale NaN": (_tensor("ADD", -1, scale=(NAN,)), "scale of nan"),
    "scale infinite": (_tensor("ADD", -1, scale=(INF,)), "scale of inf"),
    "scale zero": (_tensor("ADD", -1, scale=(0.0,)), "scale of 0"),
    "scale negative": (_tensor("ADD", 0, scale=(-0.1,)), "scale of -0.1"),
    "scale absurd": (_tensor("ADD", -1, scale=(1e-20,)), "scales are"),
    "scale missing": (_tensor("ADD", -1, scale=(), zero_point=()), "has no scale"),
    "scales for an activation": (
        _tensor("ADD", -1, scale=(0.1,) * 4, zero_point=(0,) * 4, axis=3),
        "has 4 scales",
    ),
    "weight scales short": (_tensor("CONV_2D", 1, scale=(0.1, 0.2), zero_point=(0, 0)), "has 2 scales"),
    "weight scales off axis": (_tensor("CONV_2D", 1, axis=3), "along dimension 3"),
    "axis out of range": (_tensor("CONV_2D", 1, axis=9), "along dimension 9"),
    "zero points short": (_tensor("CONV_2D", 1, zero_point=(0, 0)), "zero points"),
    "zero point out of range": (_tensor("ADD", -1, zero_point=(128,)), "zero point of 128"),
    "weights asymmetric": (_tensor("CONV_2D", 1, zero_point=(1,) * 4), "zero point other than 0"),
    "weights computed": (_tensor("CONV_2D", 1, data=None), "before anything has written"),
    "weights too short": (_tensor("CONV_2D", 1, data=bytes(10)), "10 bytes of data"),
    "weights for other channels": (_tensor("CONV_2D", 1, shape=(3, 3, 3, 4), data=bytes(108)), "scales"),
    "bias too long": (
        _tensor("CONV_2D", 2, shape=(5,), data=bytes(20), scale=(), zero_point=()),
        "bias has shape 5",
    ),
    "bias in int8": (_tensor("CONV_2D", 2, dtype="int8", data=bytes(4)), "bias"),
    "shape negative": (_tensor("ADD", -1, shape=(1, -6, 6, 4)), "dynamic shape"),
    "shape zero": (_tensor("ADD", -1, shape=(1, 0, 6, 4)), "positive dimensions"),
    "shape enormous": (_tensor("ADD", -1, shape=(2**31 - 1,) * 4), "fewer than 2^31"),
    "shape wrong": (_tensor("ADD", -1, shape=(1, 6, 5, 4)), "declared as 1x6x5x4"),
    "rank": (_tensor("ADD", -1, shape=(1, 1, 1, 1, 6, 6, 4)), "7 dimensions"),
    "dynamic height": (_tensor("CONV_2D", 0, signature=(-1, -1, 6, 4)), "dynamic shape"),
    "batch of 2": (_tensor("CONV_2D", 0, shape=(2, 6, 6, 4)), "declared as 1x6x6x4"),
    "int4 of the wrong size": (_tensor("CONV_2D", 1, dtype="int4", data=bytes(7)), "has 7 bytes of data"),
    "variable": (_tensor("CONV_2D", 0, is_variable=True), "is a variable"),
    "output constant": (_tensor("ADD", -1, data=bytes(144)), "writes the constant"),
    "input missing": (_inputs("ADD", lambda i: i[:1]), "expected 2"),
    "input absent": (_inputs("ADD", lambda i: [-1, i[1]]), "expected 2"),
    "input too many": (_inputs("ADD", lambda i: [*i, i[0]]), "expected 2"),
    "index out of range": (_inputs("ADD", lambda i: [99, i[1]]), "refers to tensor 99"),
    "index negative": (_inputs("ADD", lambda i: [-2, i[1]]), "refers to tensor -2"),
    "axes out of range": (_tensor("MEAN", 1, data=np.array([1, 4], np.int32).tobytes()), "axes are"),
    "axes computed": (_tensor("MEAN", 1, data=None), "before anything has written"),
    "axes in float": (_tensor("MEAN", 1, dtype="float32"), "expected int32"),
    "out of order": (lambda b: b.operators.reverse(), "before anything has written"),
    "cycle": (lambda b: _op(b, "CONV_2D").inputs.__setitem__(0, _op(b, "ADD").outputs[0]), "before anything"),
    "written twice": (lambda b: b.operators.append(b.operators[-1]), "already written"),
    "input written": (lambda b: b.operators.append(_rewrite_input(b)), "already written"),
    "no operators": (lambda b: b.operators.clear(), "no operators"),
    "no outputs": (lambda b: b.outputs.clear(), "no inputs or no outputs"),
    "number twice": (lambda b: b.outputs.extend([b.arg("ARG_MAX", b.outputs[0], 0)] * 2), "twice"),
    "output out of range": (lambda b: b.outputs.append(1000), "refers to tensor 1000"),
    "constant input": (
        lambda b: b.inputs.append(b.constant(np.zeros((1, 4), np.int8), 0.1)),
        "is a constant",
    ),
    "two subgraphs": (lambda b: setattr(b, "subgraphs", 2), "2 subgraphs"),
    "version": (lambda b: setattr(b, "version", 2), "schema version 2"),
    "weights shuffled": (_set("FULLY_CONNECTED", WeightsFormat=1), "shuffled"),
}


def _rewrite_input(b: ModelBuilder) -> object:
    import copy

    op = copy.copy(_op(b, "ADD"))
    op.outputs = [b.inputs[0]]
    return op


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str, tmp_path: Path) -> None:
    damage, message = MALFORMED[case]
    builder = _network()
    assert _read(builder, tmp_path)
    damage(builder)
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        _read(builder, tmp_path)
    assert type(caught.value) is ModelError
    assert "m.tflite" in caught.value.what


def test_not_a_model(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    with pytest.raises(ModelError, match="cannot read"):
        read_model(path)
    with pytest.raises(ModelError, match="cannot read"):
        read_model(tmp_path)
    for data, message in ((b"", "too short"), (b"PK\x03\x04" * 9, "is not a TFLite model")):
        path.write_bytes(data)
        with pytest.raises(ModelError, match=message):
            read_model(path)
    path.write_bytes(b"\xff\xff\xff\x7fTFL3" + bytes(50))
    with pytest.raises(ModelError, match="damaged"):
        read_model(path)


def test_unsupported_operators_are_listed_at_once(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 6, 6, 4))
    y = b.tensor((1, 6, 6, 4), scale=0.1, zero_point=0, name="gate")
    b.raw_op("CUMSUM", [x], [y])
    z = b.tensor((1, 6, 6, 4), scale=0.1, zero_point=0, name="mystery")
    b.raw_op("MyOwnOp", [b.conv2d(y, 4)], [z])
    b.output(z)
    with pytest.raises(UnsupportedOp) as caught:
        _read(b, tmp_path)
    assert "2 operators" in caught.value.what
    lines = caught.value.where.splitlines()
    assert re.search(r"op 0 CUMSUM 'gate' 1x6x6x4 int8: replace this layer", lines[0])
    assert re.search(r"op 2 CUSTOM MyOwnOp 'mystery' 1x6x6x4 int8: ", lines[1])
    assert "CONV_2D" in caught.value.expected


def test_float_model_says_how_to_quantise(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(b.conv2d(b.input((1, 6, 6, 4)), 4))
    for record in b.tensors:
        record.scale, record.zero_point = (), ()
        if record.dtype == "int8" and record.data is not None:
            record.data = np.zeros(record.shape, np.float32).tobytes()
        record.dtype = "float32"
    with pytest.raises(UnsupportedOp, match="is not quantised to int8") as caught:
        _read(b, tmp_path)
    assert "representative_dataset" in caught.value.hint
    assert "tinyml quantize" in caught.value.hint


def test_a_hybrid_model_is_named_as_one(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(b.conv2d(b.input((1, 6, 6, 4)), 4))
    for record in b.tensors:
        if record.data is None:
            record.scale, record.zero_point, record.dtype = (), (), "float32"
    with pytest.raises(UnsupportedOp, match="is a hybrid model") as caught:
        _read(b, tmp_path)
    assert "tinyml quantize" in caught.value.hint


def test_partly_quantised_model(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 6, 6, 4))
    y = b.conv2d(x, 4)
    z = b.tensor((1, 6, 6, 4), "float32")
    b.raw_op("ADD", [b.dequantize(y), b.dequantize(y)], [z], "AddOptions", FusedActivationFunction=0)
    b.output(z)
    with pytest.raises(UnsupportedOp, match="only partly quantised") as caught:
        _read(b, tmp_path)
    assert len(caught.value.where.splitlines()) == 1
    assert "representative_dataset" in caught.value.hint


def test_other_integer_types_are_refused(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(b.add(b.input((1, 4)), b.input((1, 4))))
    for record in b.tensors:
        record.dtype, record.zero_point = "uint8", (128,)
    with pytest.raises(UnsupportedOp, match="uint8 must be int8"):
        _read(b, tmp_path)


def test_the_data_of_a_transposed_convolution_is_its_third_input(tmp_path: Path) -> None:
    reader = READERS["TRANSPOSE_CONV"]
    assert reader.input_types == reader.output_types == ("int8", "int16")
    for dtype in ("int8", "int16", "uint8"):
        b = ModelBuilder(1)
        b.int16 = dtype == "int16"
        x = b.input((1, 4, 4, 3), 0.01, 0, "int16") if b.int16 else b.input((1, 4, 4, 3))
        b.output(b.transpose_conv(x, 2))
        if dtype != "uint8":
            assert _read(b, tmp_path).ops[0].kind is OpKind.TRANSPOSE_CONV
            continue
        b.tensors[x].dtype = dtype
        with pytest.raises(UnsupportedOp, match="its input 't0' of type uint8 must be int8 or int16"):
            _read(b, tmp_path)


def test_an_lstm_of_int16_is_refused_as_litert_refuses_it(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 4, 6), 0.001, 0)
    y = b.lstm(x, 8)
    b.output(y)
    hidden = b.operators[-1].inputs[18]
    for tensor in (x, y, hidden):
        b.tensors[tensor].dtype, b.tensors[tensor].zero_point = "int16", (0,)
    with pytest.raises(UnsupportedOp) as caught:
        _read(b, tmp_path)
    assert "must be int8; LiteRT runs int8 alone" in caught.value.where
    assert "unroll=True" in caught.value.where
    with pytest.raises(ModelError) as refused:
        Oracle(b.save(tmp_path / "lstm.tflite"))
    assert "input_gate_bias->type != kTfLiteFloat32" in str(refused.value.expected)


@pytest.mark.parametrize("as_output", [False, True])
def test_shapes_that_an_open_batch_size_computes(tmp_path: Path, as_output: bool) -> None:
    """Keras' Flatten: SHAPE, STRIDED_SLICE and PACK give RESHAPE its shape, and need no kernel."""
    b = ModelBuilder(1)
    x = b.conv2d(b.input((1, 6, 6, 4)), 4)
    shape, batch, wanted = (b.tensor(s, "int32") for s in ((4,), (), (2,)))
    zero, one = (b.constant(np.array([v], np.int32)) for v in (0, 1))
    b.raw_op("SHAPE", [x], [shape])
    shrink = {"ShrinkAxisMask": 1}
    b.raw_op("STRIDED_SLICE", [shape, zero, one, one], [batch], "StridedSliceOptions", **shrink)
    b.raw_op("PACK", [batch, b.constant(np.array(144, np.int32))], [wanted])
    flat = b.reshape(x, (1, 144))
    b.operators[-1].inputs[1:] = [wanted]
    b.output(b.fully_connected(flat, 3))
    if as_output:
        b.output(batch)  # then it is a value, of a constant
        last = _read(b, tmp_path).ops[1]
        assert last.kind is OpKind.SLICE
        assert _read(b, tmp_path).tensors[last.inputs[0]].data.tolist() == [1, 6, 6, 4]
        return
    graph = _read(b, tmp_path)
    assert [op.kind for op in graph.ops] == [OpKind.CONV_2D, OpKind.RESHAPE, OpKind.FULLY_CONNECTED]
    assert graph.tensors[graph.ops[1].outputs[0]].shape == (1, 144)


def test_constants_that_the_file_computes(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 6, 4))
    sizes, filled, counted = (
        b.tensor((3,), "int32"),
        b.tensor((1, 6, 4), "int8", 0.1, 0),
        b.tensor((3,), "int32"),
    )
    numbers = [b.constant(np.array(v, np.int32)) for v in (1, 6, 2)]
    b.raw_op("SHAPE", [x], [sizes], "ShapeOptions", OutType=2)
    b.raw_op("FILL", [sizes, b.constant(np.array(7, np.int8), 0.1, 0)], [filled])
    b.raw_op("RANGE", numbers, [counted])
    b.output(b.gather(b.add(x, filled), counted, 1))
    graph = _read(b, tmp_path)
    assert [op.kind for op in graph.ops] == [OpKind.ADD, OpKind.GATHER]
    assert (graph.tensors[graph.ops[0].inputs[1]].data == 7).all()
    assert graph.tensors[graph.ops[1].inputs[1]].data.tolist() == [1, 3, 5]
    for shape in ((3, 1), (), (4,)):
        b.tensors[counted].shape = shape
        with pytest.raises(ModelError, match="counts from 1 to 6 by 2"):
            _read(b, tmp_path)
    b.operators[2].inputs[0] = x
    with pytest.raises(ModelError, match="no constant number"):
        _read(b, tmp_path)


def test_uint8_edges_of_an_int8_model_are_int8(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    y = b.conv2d(
        b.quantize(b.input((1, 6, 5, 3), 0.1, 131, "uint8"), np.float32(0.1), 3), 4, out_zero_point=-7
    )
    scale = b.tensors[y].scale[0]
    b.output(b.quantize(y, scale, 121, "uint8"), b.quantize(y, 1.7 * scale, 3, "uint8"))
    graph = passes.run(_read(b, tmp_path))
    edges = [graph.tensors[t] for t in (*graph.inputs, *graph.outputs)]
    assert [(t.dtype, t.zero_point, t.unsigned) for t in edges] == [
        (DType.INT8, zero_point, True) for zero_point in (3, -7, -125)
    ]
    assert [op.kind for op in graph.ops] == [OpKind.CONV_2D, OpKind.QUANTIZE]


def test_edges_of_other_types_say_how_to_convert(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    inner = b.tensor((1, 4), scale=0.1, zero_point=0)
    b.raw_op("QUANTIZE", [b.input((1, 4), dtype="int32")], [inner])
    b.output(b.softmax(inner))
    with pytest.raises(UnsupportedOp, match="edges are neither int8, uint8 nor float32") as caught:
        _read(b, tmp_path)
    assert "inference_input_type" in caught.value.hint
    assert "tinyml quantize" in caught.value.hint


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_uint8_elsewhere_is_refused(dtype: str, tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 6, 5, 3), 0.1, 131, "uint8")
    y = b.reshape(x, (1, 90)) if dtype == "uint8" else b.quantize(x, 0.1, 0, dtype)
    b.output(y)
    with pytest.raises(ModelError, match=r"uint8 must be int8|turns uint8 into int16"):
        _read(b, tmp_path)


def test_floats_computed_inside_the_model_are_refused(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.dequantize(b.input((1, 4)))
    y = b.tensor((1, 4), "float32")
    b.raw_op("ADD", [x, x], [y])
    b.output(b.quantize(y))
    with pytest.raises(UnsupportedOp, match="only partly quantised"):
        _read(b, tmp_path)


def _unary(name: str, scale: float, table: str = "", **options: object) -> Callable[[ModelBuilder, int], int]:
    return lambda b, x: b.unary(name, x, scale, None, table, **options)


def _divided(value: int, scale: float, constants: int = 1) -> Callable[[ModelBuilder, int], int]:
    def build(b: ModelBuilder, x: int) -> int:
        divisor = b.constant(np.arange(value, value + constants, dtype=np.int8), 1.0, 0)
        y = b.unary("DIV", x, scale, None, "DivOptions")
        b.operators[-1].inputs.append(divisor)
        return y

    return build


def _mismatched(b: ModelBuilder, x: int) -> int:
    y = b.tensor((1, 9, 7), scale=0.05, zero_point=0)
    b.raw_op("MAXIMUM", [x, b.input((1, 5, 2))], [y])
    return y


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_unary("LOGISTIC", 1 / 255), "expected 1/256"),
        (_unary("HARD_SWISH", 1e-5), "at most 128 times"),
        (_unary("LEAKY_RELU", 0.1, "LeakyReluOptions", Alpha=-1.0), "0 or above"),
        (_unary("LEAKY_RELU", 0.1, "LeakyReluOptions", Alpha=float("nan")), "0 or above"),
        (_unary("RELU6", 1e-9), "in proportion to its limits"),
        (_unary("RELU", 1e-12), "expected scales in proportion"),
        (_divided(0, 0.1), "divisor is zero"),
        (_divided(-1, 0.1, constants=3), "divisor is zero"),
        (_divided(5, 10.0), "has a defined result"),
        (lambda b, x: b.binary("SUB", x, x, 1e-9, None, "SubOptions"), "in proportion"),
        (lambda b, x: b.binary("SQUARED_DIFFERENCE", x, x, 1e-7), "in proportion"),
        (lambda b, x: b.binary("PRELU", x, x), "expected constants"),
        (lambda b, x: b.relation("LESS", x, b.input((1,), 1.5)), "scales below 1"),
        (_mismatched, "expected equal or broadcastable shapes"),
        (lambda b, x: b.dequantize(b.input((3,), 0.1, 4, dtype="int16")), "expected 0 for int16"),
        (
            lambda b, x: b.select(b.input((2,), dtype="bool"), x, x, "SELECT"),
            "a condition of that shape",
        ),
    ],
)
def test_what_litert_refuses_is_refused(
    build: Callable[[ModelBuilder, int], int], message: str, tmp_path: Path
) -> None:
    b = ModelBuilder(1)
    b.output(build(b, b.input((1, 9, 7), 0.05)))
    with pytest.raises(ModelError, match=message):
        _read(b, tmp_path)


def test_casts_of_floats_inside_the_model_equal_litert(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((256,), 0.3, 5)
    b.output(b.cast(b.dequantize(x), "int32"), b.quantize(b.cast(b.cast(x, "int16"), "float32"), 0.7, 3))
    graph = _read(b, tmp_path)
    every = np.arange(-128, 128).astype(np.int8)
    values = reference.run(graph, {graph.inputs[0]: every})
    for index, expected in zip(graph.outputs, Oracle(tmp_path / "m.tflite").run([every]), strict=True):
        np.testing.assert_array_equal(values[index], expected, strict=True)
        assert len(np.unique(expected)) > 70


def test_an_output_that_is_another_output_is_copied(tmp_path: Path) -> None:
    """As the last output and the state of a layer that returns both are."""
    b = ModelBuilder(1)
    x = b.input((1, 4), 0.1, 3)
    y = b.add(x, x)
    real = b.dequantize(y)
    b.output(y, real, y, real)
    graph = _read(b, tmp_path)
    assert len(set(graph.outputs)) == 4
    every = np.array([[-128, -1, 5, 127]], np.int8)
    values = reference.run(graph, {graph.inputs[0]: every})
    for index, expected in zip(graph.outputs, Oracle(tmp_path / "m.tflite").run([every]), strict=True):
        np.testing.assert_array_equal(values[index], expected, strict=True)


def test_an_output_that_is_an_input_is_copied(tmp_path: Path) -> None:
    builder = _network()
    builder.outputs.append(builder.inputs[0])
    graph = _read(builder, tmp_path)
    copy = graph.ops[graph.producer(graph.outputs[-1])]
    assert (copy.kind, copy.inputs) == (OpKind.QUANTIZE, (graph.inputs[0],))
    assert graph.source_index[graph.outputs[-1]] == builder.inputs[0]
    x = np.arange(-60, -60 + graph.tensors[graph.inputs[0]].elements).astype(np.int8)
    values = {i: np.resize(x, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs}
    rewritten = passes.run(graph)
    assert (reference.run(rewritten, values)[rewritten.outputs[-1]] == values[graph.inputs[0]]).all()


def test_weights_of_two_to_a_byte(tmp_path: Path) -> None:
    weights = np.arange(-8, 7, dtype=np.int8).reshape(5, 3)  # an odd number
    builder = ModelBuilder()
    builder.int4_weights = True
    builder.output(builder.fully_connected(builder.input((1, 3)), 5, weights=weights))
    graph = _read(builder, tmp_path)
    np.testing.assert_array_equal(graph.tensors[graph.ops[0].inputs[1]].data, weights, strict=True)


def _layer_16(bias: Array) -> Callable[[ModelBuilder, int], int]:
    def build(b: ModelBuilder, x: int) -> int:
        y = b.fully_connected(x, 3)
        b.operators[-1].inputs[2] = b.constant(bias, 1e-5)
        return y

    return build


def _unary_16(name: str, scale: float, x_scale: float = 0.001) -> Callable[[ModelBuilder, int], int]:
    return lambda b, x: b.unary(name, b.input((3,), x_scale, 0, "int16"), scale)


def _mixed(b: ModelBuilder, x: int) -> int:
    b.int16 = False
    return b.add(x, b.input((1, 4)))


def _shifted(b: ModelBuilder, x: int) -> int:
    b.tensors[x].zero_point = (1,)
    return b.add(x, x)


def _fixed_point(b: ModelBuilder, x: int) -> int:
    x = b.input((4,), 2.0**-12, 0, "int16")
    y = b.add(x, x, out_scale=2.0**-11)
    b.operators[-1].options["PotScaleInt16"] = True
    return y


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_layer_16(np.ones(3, np.int32)), "take the bytes for it"),
        (_layer_16(np.full(3, 2**47, np.int64)), "48 bits"),
        (lambda b, x: b.fully_connected(x, 3, out_scale=1e-8), "expected less than 128 times for int16"),
        (_layer_16(np.full(3, 2**46, np.int64)), "leave 32 bits"),
        (lambda b, x: b.mul(x, x, out_scale=1e-18), "in proportion"),
        (_unary_16("LOGISTIC", 1 / 256), "expected 1/32768"),
        (_unary_16("TANH", 2**-15, 1.5), "expected less than 1"),
        (_mixed, "expected one type of activations"),
        (_shifted, "expected 0 for int16"),
        (_fixed_point, "marked as fixed-point"),
        (lambda b, x: b.unary("HARD_SWISH", x), "must be int8"),
        (lambda b, x: b.reduce("SUM", x, [1]), "must be int8"),
    ],
)
def test_what_int16_activations_cannot_do(
    build: Callable[[ModelBuilder, int], int], message: str, tmp_path: Path
) -> None:
    b = ModelBuilder(1)
    b.int16 = True
    b.output(build(b, b.input((1, 4), 0.001, 0, "int16")))
    with pytest.raises(ModelError) as caught:
        _read(b, tmp_path)
    assert message in f"{caught.value} {caught.value.where} {caught.value.expected}"
