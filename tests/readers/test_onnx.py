"""ONNX networks: read as onnxruntime means them, in an order of their own, down to the last layer."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnxruntime.quantization import QuantType

from tests.onnx_builder import OnnxBuilder
from tinyml import passes, reference
from tinyml.errors import ModelError, ToolchainError
from tinyml.graph import OpKind
from tinyml.oracle_onnx import OnnxOracle, RuntimeComparison
from tinyml.readers import read_model
from tinyml.verify import _value_ranges, random_inputs


def compare(path: Path, samples: int = 6) -> RuntimeComparison:
    """Run the network in numpy, before and after passes, and in onnxruntime."""
    source = read_model(path)
    graph = passes.run(source)
    oracle = OnnxOracle(path, optimise=False)
    ranges = _value_ranges(source, graph)
    for i in range(samples):
        inputs = random_inputs(ranges, 0, i)
        expected = oracle.run_int8(source, inputs)
        values = reference.run(graph, dict(zip(graph.inputs, inputs, strict=True)))
        for wanted, tensor in zip(expected, graph.outputs, strict=True):
            np.testing.assert_array_equal(values[tensor], wanted, strict=True)
    return oracle.comparison()


def check(path: Path) -> None:
    """Every layer, on onnxruntime's inputs, is within the rounding of its bytes."""
    comparison = compare(path)
    assert comparison.layers
    for layer in comparison.layers:
        assert layer.elements > 0
        # Bilinear resizing steps through the image in 1/1024 of a pixel: 18 times 1/3 are 1/200 off, of 255.
        assert layer.largest <= (3 if layer.op == "RESIZE_BILINEAR" else 1), layer
        # Convolutions round twice (1 in 200 bytes), averages break ties the other way, a softmax is
        # rescaled from 1/256 to 1/255.
        inexact = layer.op in ("AVERAGE_POOL_2D", "QUANTIZE", "MEAN", "SUM", "RESIZE_BILINEAR", "LOG_SOFTMAX")
        assert inexact or layer.different <= 0.02 * layer.elements + 2, layer


def residual(b: OnnxBuilder) -> None:
    x = b.input(("batch", 3, 18, 22))
    x = b.node("Relu", b.conv(x, 3, 8, (3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
    y = b.node("Relu", b.conv(x, 8, 8, (3, 3), pads=[1, 1, 1, 1]))
    y = b.conv(y, 8, 8, (3, 3), pads=[1, 1, 1, 1], bias=False)
    x = b.node("Relu", b.node("Add", x, y))
    shortcut = b.conv(x, 8, 12, (1, 1), strides=[2, 2])
    y = b.conv(
        b.node("Relu", b.conv(x, 8, 12, (3, 3), auto_pad="SAME_LOWER", strides=[2, 2])), 12, 12, (1, 1)
    )
    x = b.node("Relu", b.node("Add", y, shortcut))
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    b.output(b.dense(x, 12, 10))


def mobile(b: OnnxBuilder) -> None:
    def relu6(x: str) -> str:
        return b.node("Clip", x, b.constant(0.0), b.constant(6.0))

    x = relu6(b.conv(b.input((1, 3, 20, 20)), 3, 8, (3, 3), pads=[0, 0, 1, 1], strides=[2, 2]))
    y = relu6(b.conv(x, 8, 24, (1, 1)))
    y = relu6(b.conv(y, 24, 24, (3, 3), group=24, pads=[1, 1, 1, 1]))
    x = b.node("Add", b.conv(y, 24, 8, (1, 1)), x)
    gate = b.node("GlobalAveragePool", x)
    gate = b.node("Relu", b.conv(gate, 8, 4, (1, 1)))
    x = b.node("Mul", x, b.conv(gate, 4, 8, (1, 1)))
    x = b.conv(x, 8, 16, (5, 3), group=8, auto_pad="SAME_UPPER", strides=[2, 1])
    x = b.conv(x, 16, 8, (2, 3), group=4, dilations=[2, 1], pads=[0, 2, 1, 3])
    x = b.node("ReduceMean", x, axes=[2, 3], keepdims=0)
    b.output(b.node("Softmax", b.dense(x, 8, 5)))


def sequence(b: OnnxBuilder) -> None:
    x = b.input((1, 6, 40))
    x = b.node("Relu", b.conv(x, 6, 8, (5,), pads=[2, 2], strides=[2]))
    x = b.node("Add", b.node("Relu", b.conv(x, 8, 8, (3,), pads=[4, 0], dilations=[2])), x)
    x = b.node("MaxPool", x, kernel_shape=[3], strides=[2], pads=[1, 0])
    x = b.conv(x, 8, 8, (3,), group=8)
    x = b.node("AveragePool", x, kernel_shape=[2], strides=[2])
    b.output(b.dense(b.node("Flatten", x), 32, 4))


def perceptron(b: OnnxBuilder) -> None:
    x = b.input((1, 5, 12))
    x = b.node("Add", b.node("MatMul", x, b.random(12, 16, scale=0.3)), b.random(16))
    x = b.node("Relu", x)
    x = b.node("Reshape", x, b.integers(0, -1))
    x = b.node("Relu", b.node("Gemm", x, b.random(80, 24, scale=0.1), b.random(24), alpha=0.5, beta=2.0))
    b.output(b.node("Softmax", b.dense(x, 24, 7), axis=1))


def pooling(b: OnnxBuilder) -> None:
    x = b.input((1, 5, 15, 13))
    x = b.node("MaxPool", x, kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)
    x = b.conv(b.node("Pad", x, b.integers(0, 0, 1, 2, 0, 0, 0, 1), b.constant(0.0)), 5, 6, (3, 3))
    x = b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    x = b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 1, 1, 0])
    x = b.conv(x, 6, 6, (1, 1))
    b.output(b.node("GlobalMaxPool", x))


def shuffled(b: OnnxBuilder) -> None:
    """Channels are shuffled between groups, an image is flattened, transposed, and given out."""
    x = b.conv(b.input((1, 6, 8, 10)), 6, 12, (1, 1), group=3)
    x = b.node("Reshape", x, b.integers(1, 3, 4, 8, 10))
    x = b.node("Reshape", b.node("Transpose", x, perm=[0, 2, 1, 3, 4]), b.integers(1, 12, 8, 10))
    x = b.conv(x, 12, 12, (3, 3), group=12, pads=[1, 1, 1, 1])
    b.output(x)
    tokens = b.node("Transpose", b.node("Reshape", x, b.integers(1, 12, -1)), perm=[0, 2, 1])
    tokens = b.node("MatMul", tokens, b.random(12, 5, scale=0.3))
    b.output(b.node("Softmax", tokens))
    b.output(b.dense(b.node("Flatten", b.conv(x, 12, 3, (3, 3), strides=[3, 3])), 18, 4))


def upsampled(b: OnnxBuilder) -> None:
    x = b.node("Relu", b.conv(b.input((1, 2, 7, 6)), 2, 4, (3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
    x = b.node(
        "Resize",
        x,
        "",
        b.constant([1, 1, 2, 2]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    b.output(b.conv(x, 4, 2, (3, 3), pads=[1, 1, 1, 1]))


def two_inputs(b: OnnxBuilder) -> None:
    image, vector = b.input((1, 3, 9, 9)), b.input((1, 8))
    x = b.node("ReduceMean", b.conv(image, 3, 8, (3, 3)), axes=[2, 3], keepdims=1)
    gate = b.node("Unsqueeze", b.dense(vector, 8, 8), b.integers(2, 3))
    x = b.node("Mul", b.node("Sub", x, b.constant(0.25)), gate)
    b.output(b.node("Squeeze", b.node("Div", x, b.constant(3.0)), b.integers(2, 3)))


def silu(b: OnnxBuilder, x: str) -> str:
    return b.node("Mul", x, b.node("Sigmoid", x))


def encoder(b: OnnxBuilder) -> None:
    """Skips that are concatenated around a transposed convolution, parts that are shuffled."""
    x = silu(b, b.conv(b.input((1, 2, 12, 8)), 2, 6, (3, 3), pads=[1, 1, 1, 1]))
    y = b.node("HardSwish", b.conv(x, 6, 8, (3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
    y = b.node("ConvTranspose", y, b.random(8, 6, 2, 2, scale=0.3), b.random(6), strides=[2, 2])
    y = b.node("LeakyRelu", y, alpha=0.1)
    x = b.node("Concat", x, y, axis=1)
    names = [f"part_{i}" for i in range(2)]
    b.nodes.append(onnx.helper.make_node("Split", [x], names, axis=1, name="split"))
    x = b.node("Concat", b.conv(names[0], 6, 6, (1, 1)), names[1], axis=1)
    b.output(b.node("Sigmoid", b.conv(x, 12, 1, (1, 1))))


def attention(b: OnnxBuilder) -> None:
    x = b.input((1, 6, 8))
    query, key, value = (b.node("MatMul", x, b.random(8, 8, scale=0.3)) for _ in range(3))
    scores = b.node("MatMul", query, b.node("Transpose", key, perm=[0, 2, 1]))
    weights = b.node("Softmax", b.node("Mul", scores, b.constant(8**-0.5)))
    x = b.node("Add", x, b.node("MatMul", weights, value))
    x = b.node("Tanh", b.node("MatMul", x, b.random(8, 16, scale=0.3)))
    b.output(b.node("ReduceMax", x, axes=[1], keepdims=0))


NETWORKS: list[Callable[[OnnxBuilder], None]] = [
    residual,
    mobile,
    sequence,
    perceptron,
    pooling,
    shuffled,
    upsampled,
    two_inputs,
    encoder,
    attention,
]


@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8], ids=["uint8", "int8"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_networks_compute_what_onnxruntime_computes(
    network: Callable[[OnnxBuilder], None], activations: QuantType, tmp_path: Path
) -> None:
    b = OnnxBuilder(1)
    network(b)
    check(b.save_quantised(tmp_path / "m.onnx", activations=activations))


# Operators one by one, quantised by hand


def random_quant(rng: np.random.Generator, dtype: type) -> tuple[float, int]:
    info = np.iinfo(dtype)
    return float(np.float32(2.0 ** rng.uniform(-7, -3))), int(rng.integers(info.min + 64, info.max - 64))


@pytest.mark.parametrize("seed", range(40))
def test_convolutions_of_any_geometry(seed: int, tmp_path: Path) -> None:
    b = OnnxBuilder(seed)
    rng = b.rng
    dtype = np.uint8 if seed % 2 else np.int8
    rank = int(rng.integers(1, 3))
    groups, group_c, multiplier = (int(v) for v in rng.integers(1, 4, 3))
    in_c, out_c = groups * group_c, groups * multiplier
    kernel = tuple(int(k) for k in rng.integers(1, 5, rank))
    dilations = tuple(int(d) for d in rng.integers(1, 3, rank))
    attrs = {"group": groups, "strides": [int(s) for s in rng.integers(1, 4, rank)]}
    auto = str(rng.choice(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto == "NOTSET":
        attrs |= {"pads": [int(p) for p in rng.integers(0, 7, 2 * rank)], "dilations": dilations}
    else:
        attrs |= {"auto_pad": auto}
    spatial = [int(s) for s in rng.integers(7, 12, rank)]
    scale, zero_point = random_quant(rng, dtype)
    x = b.qdq(b.input(["n", in_c, *spatial]), scale, zero_point, dtype)
    values = b.constant(rng.integers(-127, 128, (out_c, group_c, *kernel)), np.int8)
    if seed % 3:
        scales = (rng.uniform(0.5, 1.5, out_c) * 0.01).astype(np.float32)
        weights = b.dequantize(values, scales, np.zeros(out_c), np.int8, axis=0)
    else:
        scales = np.full(out_c, 0.01, np.float32)
        weights = b.dequantize(values, 0.01, 0, np.int8)
    operands = [x, weights]
    units = np.float32(scale) * scales
    bias = rng.integers(-3000, 3000, out_c)
    if seed % 5 == 0:
        operands.append(b.constant(bias * units))  # left in float
    elif seed % 5 < 4:
        operands.append(b.dequantize(b.constant(bias, np.int32), units, np.zeros(out_c), np.int32, axis=0))
    y = b.node("Conv", *operands, **attrs)
    if seed % 4 == 1:
        y = b.node("Relu", y)
    elif seed % 4 == 2:
        y = b.node("Clip", y, b.constant(0.0), b.constant(6.0))
    spread = float(scale * 0.01 * 73 * 73 * np.sqrt(np.prod(kernel) * group_c))
    b.output(b.qdq(y, spread / 48, zero_point, dtype))
    check(b.save(tmp_path / "m.onnx"))


POOLS = [
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", {"kernel_shape": [2, 3], "strides": [2, 3], "ceil_mode": 1}),
    ("MaxPool", {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 2]}),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", {"kernel_shape": [9, 7]}),
    ("GlobalAveragePool", {}),
    ("GlobalMaxPool", {}),
    ("ReduceMean", {"axes": [1]}),
    ("ReduceMean", {"axes": [-1, 2], "keepdims": 0}),
    ("ReduceMean", {}),
    ("Softmax", {"axis": 1}),
    ("Softmax", {}),
    ("Transpose", {"perm": [0, 2, 1, 3]}),
    ("Flatten", {"axis": 2}),
    ("Relu", {}),
]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=["uint8", "int8"])
@pytest.mark.parametrize("same_scale", [True, False], ids=["same scale", "another scale"])
@pytest.mark.parametrize(("op", "attributes"), POOLS, ids=[f"{op} {attrs}" for op, attrs in POOLS])
def test_operators(op: str, attributes: dict, same_scale: bool, dtype: type, tmp_path: Path) -> None:
    b = OnnxBuilder(3)
    low = 128 if dtype is np.uint8 else 0
    x = b.qdq(b.input((1, 5, 9, 7)), 0.05, low + 3, dtype)
    x = b.node(op, x, **attributes)
    scale, zero_point = (0.05, low + 3) if same_scale else (0.037, low - 9)
    if op == "Softmax":
        scale, zero_point = 1 / (256 if same_scale else 255), low - 128
    b.output(b.qdq(x, scale, zero_point, dtype))
    check(b.save(tmp_path / "m.onnx"))


RESIZES = [
    {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    {"coordinate_transformation_mode": "half_pixel"},
    {"coordinate_transformation_mode": "align_corners", "nearest_mode": "round_prefer_ceil"},
]


@pytest.mark.parametrize("attributes", RESIZES, ids=str)
@pytest.mark.parametrize("sized", [True, False], ids=["sizes", "scales"])
def test_nearest_pixels(attributes: dict, sized: bool, tmp_path: Path) -> None:
    b = OnnxBuilder(4)
    x = b.qdq(b.input((1, 3, 4, 6)), 0.05, 128)
    size = ["", "", b.integers(1, 3, 8, 18)] if sized else ["", b.constant([1, 1, 2, 3])]
    b.output(b.qdq(b.node("Resize", x, *size, mode="nearest", **attributes), 0.05, 128))
    check(b.save(tmp_path / "m.onnx"))


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub"])
@pytest.mark.parametrize("shape", [(1, 6, 5, 4), (6, 1, 1), (1, 1, 5, 1), (4,), (1, 6, 1, 4)], ids=str)
@pytest.mark.parametrize("constant", [True, False], ids=["constant", "activation"])
def test_broadcast(op: str, shape: tuple[int, ...], constant: bool, tmp_path: Path) -> None:
    """The image has its channels last, whatever is added to it."""
    b = OnnxBuilder(5)
    x = b.qdq(b.conv_quantised(b.qdq(b.input((1, 6, 5, 4)), 0.05, 120), 6, 6), 0.06, 131)
    if constant:
        other = b.dequantize(b.constant(b.rng.integers(0, 256, shape), np.uint8), 0.02, 110)
    else:
        other = b.qdq(b.input(shape), 0.02, 110)
    y = b.qdq(b.node(op, x, other), 0.07, 125)
    b.output(y)
    check(b.save(tmp_path / "m.onnx"))


@pytest.mark.parametrize("constant", [0.75, -2.0])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
def test_single_float_numbers(op: str, constant: float, tmp_path: Path) -> None:
    b = OnnxBuilder(6)
    x = b.qdq(b.input((1, 200)), 0.05, 120)
    b.output(b.qdq(b.node(op, x, b.constant(constant)), 0.0871, 99))
    check(b.save(tmp_path / "m.onnx"))


FUNCTIONS = [
    ("Relu", {}),
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("HardSigmoid", {"alpha": 1 / 6}),
    ("HardSwish", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("Elu", {"alpha": 0.7}),
    ("Selu", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Mish", {}),
    ("Erf", {}),
    ("Exp", {}),
    ("Abs", {}),
    ("Neg", {}),
    ("Sin", {}),
    ("Cos", {}),
    ("Floor", {}),
    ("Ceil", {}),
    ("Round", {}),
    ("Sign", {}),
]


@pytest.mark.parametrize(("op", "attributes"), FUNCTIONS, ids=[op for op, _ in FUNCTIONS])
def test_functions_are_tables(op: str, attributes: dict, tmp_path: Path) -> None:
    """They have no rounding of their own: every byte is onnxruntime's."""
    b = OnnxBuilder(10)
    x = b.qdq(b.input((1, 3, 6, 5)), 0.0431, 117)
    b.output(b.qdq(b.node(op, x, **attributes), 0.0173, 61))
    path = b.save(tmp_path / "m.onnx", 20)
    assert kinds(path) == [OpKind.LOOKUP]
    for layer in compare(path, 12).layers:
        assert layer.different == 0, layer


def test_what_the_quantiser_left_in_float_is_one_table(tmp_path: Path) -> None:
    """Hard swish as exporters spell it, without a QuantizeLinear inside."""
    b = OnnxBuilder(11)
    x = b.qdq(b.input((1, 40)), 0.0431, 117)
    y = b.node("Clip", b.node("Add", x, b.constant(3.0)), b.constant(0.0), b.constant(6.0))
    y = b.node("Div", b.node("Pow", b.node("Sub", b.constant(9.5), y), b.constant(2.0)), b.constant(6.0))
    b.output(b.qdq(b.node("Clip", y, b.constant(-0.25), b.constant(7.75)), 0.0573, 61))
    path = b.save(tmp_path / "m.onnx")
    assert kinds(path) == [OpKind.LOOKUP]
    assert compare(path, 12).outputs.different == 0


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_extremes(op: str, tmp_path: Path) -> None:
    b = OnnxBuilder(12)
    x = b.qdq(b.conv_quantised(b.qdq(b.input((1, 6, 5, 4)), 0.05, 120), 6, 6), 0.06, 131)
    y = b.node(op, x, b.qdq(b.input((6, 1, 1)), 0.043, 110))
    b.output(b.qdq(y, 0.0713, 125))
    check(b.save(tmp_path / "m.onnx"))


def test_slopes_per_channel(tmp_path: Path) -> None:
    b = OnnxBuilder(13)
    x = b.qdq(b.conv_quantised(b.qdq(b.input((1, 6, 5, 4)), 0.05, 120), 6, 6), 0.06, 131)
    slopes = b.dequantize(b.constant(b.rng.integers(0, 256, (6, 1, 1)), np.uint8), 0.003, 20)
    b.output(b.qdq(b.node("PRelu", x, slopes), 0.0573, 90))
    check(b.save(tmp_path / "m.onnx"))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concatenated_and_taken_apart(axis: int, tmp_path: Path) -> None:
    b = OnnxBuilder(14)
    x = b.qdq(b.conv_quantised(b.qdq(b.input((1, 3, 6, 8)), 0.05, 120), 3, 6), 0.06, 131)
    y = b.qdq(b.conv_quantised(x, 6, 6), 0.07, 120)
    whole = b.qdq(b.node("Concat", x, y, axis=axis), 0.0623, 127)
    sizes = {1: [5, 7], 2: [3, 9], -1: [4, 12]}[axis]
    names = ["first", "second"]
    b.nodes.append(onnx.helper.make_node("Split", [whole, b.integers(*sizes)], names, axis=axis))
    b.output(b.qdq(names[1], 0.0623, 127))
    part = b.node("Slice", names[0], b.integers(-1), b.integers(-100), b.integers(3), b.integers(-2))
    b.output(b.qdq(part, 0.0623, 127))
    check(b.save(tmp_path / "m.onnx"))


@pytest.mark.parametrize("indices", [-1, 2, [0, 2, 4], [3], [5, 4, 3]], ids=str)
def test_indices(indices: int | list[int], tmp_path: Path) -> None:
    b = OnnxBuilder(20)
    x = b.qdq(b.conv_quantised(b.qdq(b.input((1, 3, 7, 6)), 0.05, 120), 3, 4), 0.06, 131)
    b.output(b.qdq(b.node("Gather", x, b.constant(indices, np.int64), axis=2), 0.06, 131))
    check(b.save(tmp_path / "m.onnx"))


@pytest.mark.parametrize("seed", range(12))
def test_transposed_convolutions(seed: int, tmp_path: Path) -> None:
    b = OnnxBuilder(seed)
    rng = b.rng
    rank = 1 + seed % 2
    in_c, out_c = (int(v) for v in rng.integers(1, 6, 2))
    kernel = [int(k) for k in rng.integers(2, 5, rank)]
    strides = [int(s) for s in rng.integers(1, 4, rank)]
    attrs = {"strides": strides, "pads": [int(p) for p in rng.integers(0, 2, 2 * rank)]}
    if seed % 3 == 0:
        attrs["output_padding"] = [s - 1 for s in strides]
    x = b.qdq(b.input((1, in_c, *([5, 6][:rank]))), 0.05, 120)
    values = b.constant(rng.integers(-127, 128, (in_c, out_c, *kernel)), np.int8)
    scales = (rng.uniform(0.5, 1.5, out_c) * 0.01).astype(np.float32)
    weights = b.dequantize(values, scales, np.zeros(out_c), np.int8, axis=1)
    operands = [x, weights]
    if seed % 2:
        bias = b.constant(rng.integers(-900, 900, out_c), np.int32)
        operands.append(b.dequantize(bias, np.float32(0.05) * scales, np.zeros(out_c), np.int32, axis=0))
    b.output(b.qdq(b.node("ConvTranspose", *operands, **attrs), 0.0373 * in_c, 131))
    check(b.save(tmp_path / "m.onnx"))


def test_attention(tmp_path: Path) -> None:
    """Products of activations, one of them transposed, which costs nothing."""
    b = OnnxBuilder(15)
    x = b.qdq(b.input((1, 7, 12)), 0.05, 128)
    query, key, value = (
        b.qdq(b.node("MatMul", x, b.weights((12, 12))), 0.05, zero_point) for zero_point in (120, 125, 130)
    )
    scores = b.qdq(b.node("MatMul", query, b.node("Transpose", key, perm=[0, 2, 1])), 0.3173, 128)
    weights = b.qdq(b.node("Softmax", scores), 1 / 256, 0)
    b.output(b.qdq(b.node("MatMul", weights, value), 0.0473, 127))
    path = b.save(tmp_path / "m.onnx")
    assert OpKind.TRANSPOSE not in kinds(path)
    check(path)


MORE = [
    ("ReduceMax", {"axes": [2, 3]}),
    ("ReduceMin", {"axes": [1], "keepdims": 0}),
    ("ReduceSum", {}),
    ("LogSoftmax", {"axis": 1}),
]


@pytest.mark.parametrize(("op", "attributes"), MORE, ids=[op for op, _ in MORE])
def test_reductions(op: str, attributes: dict, tmp_path: Path) -> None:
    b = OnnxBuilder(16)
    x = b.qdq(b.conv_quantised(b.qdq(b.input((1, 4, 5, 6)), 0.05, 120), 4, 4), 0.06, 131)
    scale, zero_point = {"ReduceSum": (0.9173, 128), "LogSoftmax": (16 / 256, 255)}.get(op, (0.06, 131))
    inputs = [x, b.integers(2)] if op == "ReduceSum" else [x]
    b.output(b.qdq(b.node(op, *inputs, **attributes), scale, zero_point))
    check(b.save(tmp_path / "m.onnx"))


@pytest.mark.parametrize("value", [0.0, -1.25, None], ids=["zeros", "constant", "reflect"])
def test_padding(value: float | None, tmp_path: Path) -> None:
    b = OnnxBuilder(17)
    x = b.qdq(b.conv_quantised(b.qdq(b.input((1, 4, 5, 6)), 0.05, 120), 4, 4), 0.06, 131)
    pads = b.integers(0, 1, 2, 3, 0, 2, 0, 1)
    operands = [x, pads] if value is None else [x, pads, b.constant(value)]
    b.output(b.qdq(b.node("Pad", *operands, mode="reflect" if value is None else "constant"), 0.06, 131))
    check(b.save(tmp_path / "m.onnx"))


@pytest.mark.parametrize("op", ["SpaceToDepth", "DepthToSpace DCR", "DepthToSpace CRD"])
def test_blocks(op: str, tmp_path: Path) -> None:
    b = OnnxBuilder(19)
    x = b.qdq(b.conv_quantised(b.qdq(b.input((1, 3, 4, 6)), 0.05, 120), 3, 8), 0.06, 131)
    name, *mode = op.split()
    x = b.node(name, x, blocksize=2, **({"mode": mode[0]} if mode else {}))
    channels = 2 if mode else 32
    b.output(b.qdq(b.conv_quantised(b.qdq(x, 0.06, 131), channels, 4), 0.0973, 125))
    path = b.save(tmp_path / "m.onnx")
    assert kinds(path).count(OpKind.TRANSPOSE) == 1
    check(path)


@pytest.mark.parametrize("mode", ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"])
def test_interpolated_pixels(mode: str, tmp_path: Path) -> None:
    b = OnnxBuilder(18)
    x = b.qdq(b.input((1, 3, 4, 6)), 0.05, 128)
    sizes = b.integers(1, 3, 8, 18)
    y = b.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode=mode)
    b.output(b.qdq(y, 0.05, 128))
    check(b.save(tmp_path / "m.onnx"))


def test_shapes_that_are_computed_are_folded(tmp_path: Path) -> None:
    """What exporters write for x.view(x.shape[0], -1) with an open batch."""
    b = OnnxBuilder(7)
    x = b.qdq(b.input(("n", 3, 4, 5)), 0.05, 128)
    batch = b.node("Gather", b.node("Shape", x), b.constant(0, np.int64))
    size = b.node("Mul", b.node("Unsqueeze", batch, b.integers(0)), b.integers(60))
    shape = b.node("Concat", b.node("Unsqueeze", batch, b.integers(0)), size, axis=0)
    b.output(b.qdq(b.node("Reshape", b.node("Relu", x), shape), 0.04, 0))
    path = b.save(tmp_path / "m.onnx")
    check(path)
    assert read_model(path).tensors[read_model(path).outputs[0]].shape == (1, 60)


def test_weights_may_be_quantised_in_the_file(tmp_path: Path) -> None:
    b = OnnxBuilder(8)
    x = b.qdq(b.input((1, 9)), 0.05, 128)
    weights = b.qdq(b.random(9, 4), 0.02, 0, np.int8)
    b.output(b.qdq(b.node("MatMul", x, weights), 0.1, 128))
    check(b.save(tmp_path / "m.onnx"))


def test_quantised_inputs_and_outputs(tmp_path: Path) -> None:
    b = OnnxBuilder(9)
    x = b.dequantize(b.input((1, 4, 6, 6), TensorProto.UINT8), 0.05, 100)
    y = b.conv_quantised(x, 4, 8)
    b.output(b.quantize(y, 0.1, 90), TensorProto.UINT8)
    path = b.save(tmp_path / "m.onnx")
    graph = read_model(path)
    assert [op.kind for op in graph.ops] == [OpKind.CONV_2D]
    (x_tensor,), (y_tensor,) = graph.inputs, graph.outputs
    assert (graph.tensors[x_tensor].shape, graph.tensors[x_tensor].zero_point) == ((1, 6, 6, 4), -28)
    assert (graph.tensors[y_tensor].shape, graph.tensors[y_tensor].zero_point) == ((1, 6, 6, 8), -38)
    check(path)


# The order in memory


def kinds(path: Path) -> list[OpKind]:
    return [op.kind for op in passes.run(read_model(path)).ops]


def test_a_convolutional_network_moves_nothing(tmp_path: Path) -> None:
    for network in (residual, mobile, pooling, upsampled):
        b = OnnxBuilder(1)
        network(b)
        assert OpKind.TRANSPOSE not in kinds(b.save_quantised(tmp_path / "m.onnx"))


def test_a_shuffle_of_channels_is_one_transpose(tmp_path: Path) -> None:
    b = OnnxBuilder(1)
    shuffled(b)
    # The tokens behind it are rows of channels already, and the flattened image is never moved.
    assert kinds(b.save_quantised(tmp_path / "m.onnx")).count(OpKind.TRANSPOSE) == 1


def test_what_channels_last_exporters_transpose_costs_nothing(tmp_path: Path) -> None:
    """From TensorFlow: the input is NHWC, and transposed before the first convolution."""
    b = OnnxBuilder(2)
    x = b.node("Transpose", b.input((1, 6, 5, 3)), perm=[0, 3, 1, 2])
    y = b.conv_quantised(b.qdq(x, 0.05, 128), 3, 4)
    b.output(b.node("Transpose", b.qdq(y, 0.1, 128), perm=[0, 2, 3, 1]))
    path = b.save(tmp_path / "m.onnx")
    assert kinds(path) == [OpKind.CONV_2D]
    graph = read_model(path)
    assert graph.tensors[graph.inputs[0]].shape == (1, 6, 5, 3)
    assert graph.tensors[graph.outputs[0]].shape == (1, 6, 5, 4)
    check(path)


def test_inputs_without_convolutions_keep_their_order(tmp_path: Path) -> None:
    b = OnnxBuilder(2)
    x = b.node("Reshape", b.qdq(b.input((1, 3, 4, 5)), 0.05, 128), b.integers(1, 60))
    b.output(b.qdq(b.node("MatMul", x, b.weights((60, 4))), 0.5, 128))
    path = b.save(tmp_path / "m.onnx")
    graph = read_model(path)
    assert graph.tensors[graph.inputs[0]].shape == (1, 3, 4, 5)
    check(path)


# Refusals: what, where, what to do


def refusal(b: OnnxBuilder, path: Path, opset: int = 17) -> str:
    with pytest.raises(ModelError) as caught:
        read_model(b.save(path, opset))
    error = caught.value
    assert error.what
    assert error.hint or error.expected
    return str(error)


def refused_float(b: OnnxBuilder) -> None:
    b.output(b.node("Relu", b.input((1, 4))))


def refused_operators(b: OnnxBuilder) -> None:
    x = b.node("LSTM", b.qdq(b.input((1, 4)), 0.1, 0))
    b.output(b.node("DynamicQuantizeLinear", x))


def refused_float_island(b: OnnxBuilder) -> None:
    x = b.qdq(b.input((1, 4, 5, 5)), 0.1, 0)
    x = b.node("GlobalAveragePool", b.node("Mul", x, x))
    b.output(b.qdq(x, 0.1, 0))


def refused_float_output(b: OnnxBuilder) -> None:
    b.output(b.node("Softmax", b.qdq(b.input((1, 4)), 0.1, 0)))


def refused_weights(b: OnnxBuilder) -> None:
    values = b.constant(b.rng.integers(0, 255, (4, 3)), np.uint8)
    weights = b.dequantize(values, 0.1, 100)
    b.output(b.qdq(b.node("MatMul", b.qdq(b.input((1, 4)), 0.1, 0), weights), 1.0, 0))


def refused_batch(b: OnnxBuilder) -> None:
    b.output(b.qdq(b.conv_quantised(b.qdq(b.input((4, 3, 8, 8)), 0.1, 0), 3, 4), 0.1, 0))


def refused_open_shape(b: OnnxBuilder) -> None:
    b.output(b.qdq(b.conv_quantised(b.qdq(b.input((1, 3, "h", 8)), 0.1, 0), 3, 4), 0.1, 0))


def refused_clip(b: OnnxBuilder) -> None:
    x = b.node("MatMul", b.qdq(b.input((1, 4)), 0.1, 128), b.weights((4, 4)))
    x = b.node("Clip", x, b.constant(-0.5), b.constant(3.0))
    b.output(b.qdq(x, 0.1, 128))


def refused_interpolation(b: OnnxBuilder) -> None:
    x = b.qdq(b.input((1, 3, 4, 4)), 0.1, 128)
    b.output(b.qdq(b.node("Resize", x, "", b.constant([1, 1, 2, 2]), mode="cubic"), 0.1, 128))


def refused_axis(b: OnnxBuilder) -> None:
    values = b.constant(b.rng.integers(-127, 128, (4, 3)), np.int8)
    weights = b.dequantize(values, np.full(4, 0.1), np.zeros(4), np.int8, axis=0)
    b.output(b.qdq(b.node("MatMul", b.qdq(b.input((1, 4)), 0.1, 0), weights), 1.0, 0))


def refused_order(b: OnnxBuilder) -> None:
    b.output(b.node("Add", b.qdq(b.input((1, 4)), 0.1, 0), "later"))


def refused_scale(b: OnnxBuilder) -> None:
    b.output(b.qdq(b.input((1, 4)), float("nan"), 0))


REFUSALS = [
    (refused_float, "is not quantised.*quantize_static"),
    (refused_operators, r"2 operators that cannot run \(DynamicQuantizeLinear, LSTM\).*quantise statically"),
    (
        refused_float_island,
        "computes in float.*GlobalAveragePool.*op_types_to_quantize.*Mul",
    ),
    (refused_float_output, "output 'softmax_2' is computed in float, by Softmax"),
    (refused_weights, "zero point other than 0.*QInt8"),
    (refused_batch, "a batch of 4.*export the model with a batch of 1"),
    (refused_open_shape, "input_0' has an open shape.*fixed"),
    (refused_clip, "clipped to -0.5 to 3.*ReLU6"),
    (refused_interpolation, "its mode is cubic"),
    (refused_axis, "quantised along axis 0.*axis 1"),
    (refused_order, "reads 'later' before anything has written it"),
    (refused_scale, "scale is nan"),
]


@pytest.mark.parametrize(("network", "message"), REFUSALS, ids=[f.__name__[8:] for f, _ in REFUSALS])
def test_refusals_say_what_and_what_to_do(
    network: Callable[[OnnxBuilder], None], message: str, tmp_path: Path
) -> None:
    b = OnnxBuilder(1)
    network(b)
    assert re.search(message, refusal(b, tmp_path / "m.onnx"), re.DOTALL)


def test_old_operator_sets_are_refused(tmp_path: Path) -> None:
    b = OnnxBuilder(1)
    b.output(b.qdq(b.input((1, 4)), 0.1, 0))
    assert "opset_version=13" in refusal(b, tmp_path / "m.onnx", opset=12)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    b = OnnxBuilder(1)
    b.output(b.qdq(b.input((1, 4)), 0.1, 0))
    model = b.model()
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="m.onnx.data"
    )
    with pytest.raises(ModelError, match="keeps its weights in another file"):
        read_model(tmp_path / "m.onnx")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = OnnxBuilder(1)
    b.output(b.qdq(b.conv_quantised(b.qdq(b.input((1, 3, 4, 4)), 0.1, 0), 3, 4), 0.5, 0))
    path = b.save(tmp_path / "m.onnx")
    for package, attempt in (("onnxruntime", OnnxOracle), ("onnx", read_model)):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(ToolchainError) as caught:
                attempt(path)
        assert "pip install 'tinyml-toolchain[onnx]'" in str(caught.value)
