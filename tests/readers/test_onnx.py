"""ONNX networks: read as onnxruntime means them, in an order of their own, down to the last layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantType

from tests.onnx_builder import OnnxBuilder
from tinyml import passes, reference
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
        assert layer.largest <= 1, layer
        # Convolutions round twice (1 in 200 bytes), averages break ties the other way, a softmax is
        # rescaled from 1/256 to 1/255.
        inexact = layer.op in ("AVERAGE_POOL_2D", "QUANTIZE", "MEAN")
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


NETWORKS: list[Callable[[OnnxBuilder], None]] = [
    residual,
    mobile,
    sequence,
    perceptron,
    pooling,
    shuffled,
    upsampled,
    two_inputs,
]


@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8], ids=["uint8", "int8"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_networks_compute_what_onnxruntime_computes(
    network: Callable[[OnnxBuilder], None], activations: QuantType, tmp_path: Path
) -> None:
    b = OnnxBuilder(1)
    network(b)
    check(b.save_quantised(tmp_path / "m.onnx", activations=activations))
