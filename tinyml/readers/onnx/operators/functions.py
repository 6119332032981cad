"""Functions of one value: activations, roots, and arithmetic with a single number.

An int8 value has 256 results, so that any such function, or a chain of them that the quantiser left in
float, is one LOOKUP. Its table is what the file says in float32: dequantise, compute, quantise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinyml import numerics
from tinyml.graph import Array, LookupAttrs, OpKind
from tinyml.readers.onnx.network import Constant, Network, Operand, Output, Pending, Stored
from tinyml.readers.onnx.operators.reading import OnnxOperator

Function = Callable[[Array], Array]
"""From float32 [256] to float32 [256]; NaN and infinities are allowed."""

_erf = np.vectorize(math.erf, otypes=[np.float32])
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875  # onnx, Selu


def function_of(net: Network, position: int, function: Function) -> Pending:
    """Return a function of an input: of a quantised value, or of another function of one."""
    operand = net.operand(position)
    if isinstance(operand, Pending) and operand.function is not None and operand.source is not None:
        source, inner = operand.source, operand.function
    else:
        source, inner = net.real(position), None

    def of_source(x: Array) -> Array:
        return function(x if inner is None else inner(x))

    name = net.node.op.upper()

    def build(output: Output) -> Stored:
        quant = net.quant(source.tensor)
        x = (np.arange(-128, 128) - quant.zero_point[0]).astype(np.float32) * np.float32(quant.scale[0])
        with np.errstate(all="ignore"):
            codes = np.rint(of_source(x).astype(np.float32) / np.float32(output.quant.scale[0]))
            codes = np.nan_to_num(codes.astype(np.float64), nan=-math.inf) + output.quant.zero_point[0]
        scale, zero_point = output.quant.scale[0], output.quant.zero_point[0]
        low, high = numerics.activation_range(output.activation, scale, zero_point)
        table = np.clip(codes, low, high).astype(np.int8)
        if quant == output.quant and np.array_equal(table, np.arange(-128, 128)):
            return source
        attrs = LookupAttrs(name, tuple(int(value) for value in table))
        shape = net.tensors[source.tensor].shape
        index = net.emit(OpKind.LOOKUP, (source.tensor,), attrs, shape, output.quant, output.name)
        return replace(source, tensor=index)

    pending = net.pending(source.shape, build, fuses=True)
    return replace(pending, source=source, function=of_source)


def clipped(net: Network, low: float, high: float) -> Operand:
    """Clip input 0 to [low, high]: in the layer that computes it where there is one."""
    value = net.operand(0)
    if isinstance(value, Constant):
        raise net.unsupported("it computes with constants only", "expected an activation", "fold it")
    if not isinstance(value, Pending) or value.function is not None:
        return function_of(net, 0, lambda x: np.clip(x, low, high))
    if not low <= 0 <= high:  # zeros that Pad wrote would have to be clipped too
        raise net.unsupported(f"it clips to {low:g} to {high:g}", "expected a range with 0", "use ReLU6")
    return replace(value, low=max(value.low, low), high=min(value.high, high))


def _relu(net: Network) -> Operand:
    return clipped(net, 0.0, math.inf)


def _clip(net: Network) -> Operand:
    bounds = [-math.inf, math.inf]
    for i in (1, 2):
        if net.has_input(i):
            operand = net.operand(i)
            if not isinstance(operand, Constant) or operand.data.size != 1:
                raise net.unsupported(
                    "its bounds are computed by the model", "expected constants", "fold them"
                )
            bounds[i - 1] = float(single_number(operand))
    if not bounds[0] <= bounds[1]:
        raise net.error(f"it clips to {bounds[0]:g} to {bounds[1]:g}", "expected the smaller one first")
    return clipped(net, bounds[0], bounds[1])


def single_number(constant: Constant) -> np.float32:
    """Return the real number that a constant of one element stands for."""
    value = constant.data.reshape(-1)[0].astype(np.float32)
    if constant.quant is None:
        return np.float32(value)
    with np.errstate(all="ignore"):
        return np.float32((value - constant.quant.zero_point[0]) * np.float32(constant.quant.scale[0]))


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, np.float32(0))


def _plain(function: Function) -> OnnxOperator:
    """Return the reader of a function without attributes."""
    return OnnxOperator(lambda net: function_of(net, 0, function), "any")


def _hard_sigmoid(net: Network) -> Operand:
    alpha, beta = net.number("alpha", 0.2), net.number("beta", 0.5)
    return function_of(net, 0, lambda x: np.clip(alpha * x + beta, 0, 1))


def _leaky_relu(net: Network) -> Operand:
    alpha = net.number("alpha", 0.01)
    return function_of(net, 0, lambda x: np.where(x < 0, np.float32(alpha) * x, x))


def _elu(net: Network) -> Operand:
    alpha = net.number("alpha", 1.0)
    return function_of(net, 0, lambda x: np.where(x < 0, alpha * np.expm1(x), x))


def _selu(net: Network) -> Operand:
    alpha, gamma = net.number("alpha", _SELU_ALPHA), net.number("gamma", _SELU_GAMMA)
    return function_of(net, 0, lambda x: gamma * np.where(x < 0, alpha * np.expm1(x), x))


def _gelu_of(net: Network) -> Operand:
    approximate = net.text("approximate", "none")

    def function(x: Array) -> Array:
        if approximate == "tanh":
            return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
        return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))

    return function_of(net, 0, function)


OPERATORS = {
    "Relu": OnnxOperator(_relu, "any"),
    "Clip": OnnxOperator(_clip, "any"),
    "HardSigmoid": OnnxOperator(_hard_sigmoid, "any"),
    "LeakyRelu": OnnxOperator(_leaky_relu, "any"),
    "Elu": OnnxOperator(_elu, "any"),
    "Selu": OnnxOperator(_selu, "any"),
    "Gelu": OnnxOperator(_gelu_of, "any"),
    "Sigmoid": _plain(_sigmoid),
    "Tanh": _plain(np.tanh),
    "HardSwish": _plain(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Softplus": _plain(_softplus),
    "Softsign": _plain(lambda x: x / (1 + np.abs(x))),
    "Mish": _plain(lambda x: x * np.tanh(_softplus(x))),
    "Erf": _plain(_erf),
    "Exp": _plain(np.exp),
    "Log": _plain(np.log),
    "Sqrt": _plain(np.sqrt),
    "Reciprocal": _plain(np.reciprocal),
    "Abs": _plain(np.abs),
    "Neg": _plain(np.negative),
    "Sin": _plain(np.sin),
    "Cos": _plain(np.cos),
    "Floor": _plain(np.floor),
    "Ceil": _plain(np.ceil),
    "Round": _plain(np.rint),
    "Sign": _plain(np.sign),
}
