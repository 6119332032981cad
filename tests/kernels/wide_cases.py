"""Random single-operator graphs on int16 activations for the kernel tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tests.kernels import kernel_cases, matrix_cases
from tests.kernels.kernel_cases import Rng, activation, one_op, per_tensor, pick, random_shape
from tinyml.graph import (
    Activation,
    ActivationAttrs,
    BinaryAttrs,
    BinaryFunction,
    DType,
    Graph,
    OpKind,
    Quant,
    SoftmaxAttrs,
    Tensor,
    UnaryAttrs,
    UnaryFunction,
)


def _tensor(name: str, shape: tuple[int, ...], scale: float) -> Tensor:
    return Tensor(name, shape, DType.INT16, per_tensor(scale, 0))


def _scale(rng: Rng) -> float:
    return float(10.0 ** rng.uniform(-5, -2))


def widened(generate: Callable[[Rng], Graph], far_biases: float = 0.1) -> Callable[[Rng], Graph]:
    """Turn graphs of layers and pooling on int8 into graphs on int16 whose outputs spread as far.

    Args:
        generate: the graphs on int8.
        far_biases: share of the layers whose sums leave 32 bits for their biases.
    """

    def generator(rng: Rng) -> Graph:
        graph = generate(rng)
        tensors = list(graph.tensors)
        for i, tensor in enumerate(tensors):
            if tensor.dtype is DType.INT8 and tensor.data is None:
                assert tensor.quant is not None
                quant = Quant(tensor.quant.scale, (0,), 0)
                tensors[i] = dataclasses.replace(tensor, dtype=DType.INT16, quant=quant)
        op = graph.ops[0]
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            bias = tensors[op.inputs[2]]
            assert bias.data is not None
            far = 2**44 if rng.random() < far_biases else 256  # sums beyond 32 bits
            data = bias.data.astype(np.int64) * int(rng.integers(1, far))
            data = np.clip(data, -(2**46), 2**46)
            tensors[op.inputs[2]] = dataclasses.replace(bias, dtype=DType.INT64, data=data)
        if op.kind in (
            OpKind.CONV_2D,
            OpKind.DEPTHWISE_CONV_2D,
            OpKind.TRANSPOSE_CONV,
            OpKind.FULLY_CONNECTED,
        ):
            # Shifts to the left end at 7, results at 32 bits.
            x, weights, y = tensors[op.inputs[0]], tensors[op.inputs[1]], tensors[op.outputs[0]]
            assert weights.quant is not None
            assert weights.data is not None
            least = x.scale * max(weights.quant.scale) / 100
            bias = tensors[op.inputs[2]] if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
            if op.kind is OpKind.FULLY_CONNECTED:
                most = float(np.abs(weights.data.astype(np.int64)).sum(axis=1).max() << 15)
                if bias is not None and bias.data is not None:
                    most += float(np.abs(bias.data).max())
                least = max(least, x.scale * max(weights.quant.scale) * most / 2.0**30)
            tensors[op.outputs[0]] = dataclasses.replace(y, quant=per_tensor(max(y.scale, least), 0))
        return graph.replace(tensors=tuple(tensors))

    return generator


def _binary(rng: Rng, constant: int | None) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4, 4, 5, 6), 5)
    first = shape if rng.random() < 0.6 else kernel_cases.repeating(rng, shape)
    shapes = [first, kernel_cases.repeating(rng, shape)]
    if rng.random() < 0.5:
        shapes.reverse()
    operands = [_tensor(f"x{i}", s, _scale(rng)) for i, s in enumerate(shapes)]
    if constant is not None:
        t = operands[constant]
        data = rng.integers(-(2**15), 2**15, t.shape).astype(np.int16)
        operands[constant] = dataclasses.replace(t, data=data)
    kind = (OpKind.ADD, OpKind.BINARY, OpKind.MUL)[pick(rng, 0, 1, 2)]
    a, b = (t.scale for t in operands)
    real = a * b * 15000 if kind is OpKind.MUL else a + b
    y = _tensor("y", np.broadcast_shapes(*shapes), real * float(rng.choice([0.05, 0.5, 1.0, 3.0])))
    function = activation(rng) if rng.random() < 0.5 else Activation.NONE
    sub = BinaryAttrs(BinaryFunction.SUB, function)
    return one_op(kind, sub if kind is OpKind.BINARY else ActivationAttrs(function), operands, y)


def two_tensors(rng: Rng) -> Graph:
    return _binary(rng, None)


def same_shape(rng: Rng) -> Graph:
    """A sum, difference or product of tensors that do not broadcast, on more elements, or fewer."""
    graph = _binary(rng, None)
    shape = (pick(rng, 1, 5, 8, 17), pick(rng, 1, 3, 31, 64))
    tensors = [dataclasses.replace(tensor, shape=shape) for tensor in graph.tensors]
    return graph.replace(tensors=tuple(tensors))


def with_constant(rng: Rng) -> Graph:
    return _binary(rng, pick(rng, 0, 1))


def unary(rng: Rng) -> Graph:
    function = list(UnaryFunction)[int(rng.integers(len(UnaryFunction)))]
    x = _tensor("x", random_shape(rng, (1, 2, 3, 4), 9), _scale(rng))
    alpha = 0.0
    scale = x.scale * float(rng.uniform(0.1, 3))
    if function in (UnaryFunction.LOGISTIC, UnaryFunction.TANH):
        x = dataclasses.replace(x, quant=per_tensor(float(rng.choice([2.0**-12, 2.0**-11, 2e-4, 0.3])), 0))
        scale = 2.0**-15
    elif function is UnaryFunction.LEAKY_RELU:
        alpha = float(np.float32(rng.uniform(0, 2)))
    return one_op(OpKind.UNARY, UnaryAttrs(function, alpha), (x,), _tensor("y", x.shape, scale))


def softmax(rng: Rng) -> Graph:
    shape = (*random_shape(rng, (0, 1, 1, 2), 4), pick(rng, 1, 2, 3, 10, 12, 100, 700))
    x = _tensor("x", shape, float(rng.choice([1e-5, 1e-4, 1e-3, 0.1])))
    attrs = SoftmaxAttrs(float(rng.choice([0.5, 1.0, 1.0, 2.0])))
    return one_op(OpKind.SOFTMAX, attrs, (x,), _tensor("y", shape, 2.0**-15))


_LAYERS = (widened(kernel_cases.convolution), widened(kernel_cases.pointwise))

GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    "tm_add_const_s16_c": (with_constant,),
    "tm_add_s16_c": (two_tensors,),
    "tm_avg_pool2d_s16_c": (widened(kernel_cases.pooling),),
    "tm_conv2d_s16_c": _LAYERS,
    "tm_dwconv2d_s16_c": (widened(kernel_cases.depthwise),),
    "tm_fully_connected_s16_c": (widened(kernel_cases.fully_connected),),
    "tm_linear_s16_c": (unary,),
    "tm_max_pool2d_s16_c": (widened(kernel_cases.pooling),),
    "tm_mean_s16_c": (widened(kernel_cases.mean),),
    "tm_mul_const_s16_c": (with_constant,),
    "tm_mul_s16_c": (two_tensors, same_shape),
    "tm_sigmoid_s16_c": (unary,),
    "tm_softmax_s16_c": (softmax,),
    "tm_transpose_conv_s16_c": (widened(matrix_cases.transpose_conv),),
}
