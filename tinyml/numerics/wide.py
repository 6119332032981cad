"""The integers of operators on int16 activations (16x8: int16 activations, int8 weights).

Zero points are 0. What int16 shares with int8 is where int8 is: `add_params`, `mul_params`, `mean_params`.

Layers add up in 64 bits; convolutions round their multipliers to 15 bits, FULLY_CONNECTED multiplies in
double. The bias is int64: LiteRT's reference takes the bytes of an int32 one for it.

Sources: TensorFlow Lite `kernels/internal/common.cc` (MultiplyByQuantizedMultiplier of int64),
`common.h` (LUTPopulate, LUTLookup), `reference/integer_ops/conv.h`, `depthwise_conv.h`,
`transpose_conv.h`, `fully_connected.h`, `logistic.h`, `tanh.h`, `reference/softmax.h`,
`kernels/activations.cc`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyml import numerics
from tinyml.graph import Array, Graph, Op, SoftmaxAttrs, UnaryAttrs
from tinyml.numerics import Int64Array, quantize_multiplier

SMALLEST, LARGEST = -(2**15), 2**15 - 1
MOST_ACCUMULATED = 2**47  # MultiplyByQuantizedMultiplier of int64 takes sums below
MOST_WIDE_SHIFT = 7  # and shifts no further to the left


# Layers with weights


def layer_bias(graph: Graph, op: Op) -> Int64Array:
    """Return the bias of a layer on int16 activations, zeros where it has none."""
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return np.zeros(numerics.output_channels(graph, op), np.int64)
    data = graph.tensors[op.inputs[2]].data
    assert data is not None
    return np.asarray(data.reshape(-1).astype(np.int64))


def layer_requant(graph: Graph, op: Op) -> tuple[Int64Array, Int64Array]:
    """Return a convolution's (multiplier[out_c], shift[out_c]); the multipliers have 15 bits."""
    multiplier, shift = (values.astype(np.int64) for values in numerics.conv_requant(graph, op))
    return np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF), shift


def rescale(acc: Array, multiplier: Int64Array, shift: Int64Array) -> Int64Array:
    """Requantise sums of a convolution, below 2^47: rounded once, wrapped. The last axis is the channel."""
    total = 15 - shift
    return numerics.wrap_int32((acc * multiplier + (np.int64(1) << (total - 1))) >> total)


def dense_scale(graph: Graph, op: Op) -> npt.NDArray[np.float64]:
    """Return what FULLY_CONNECTED multiplies the sums of each channel with: LiteRT does so in double."""
    x, weights = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
    assert weights.quant is not None
    scales = weights.quant.scale * (1 if weights.quant.per_channel else weights.shape[0])
    return np.array([x.scale * scale / graph.tensors[op.outputs[0]].scale for scale in scales])


def dense_words(scale: npt.NDArray[np.float64]) -> Int64Array:
    """Return scales [n] as [n, 3]: high and low word of 53 bits, and the power of two they are divided by."""
    fraction, exponent = np.frexp(scale)
    mantissa = (fraction * 2.0**53).astype(np.int64)
    return np.stack([mantissa >> 32, mantissa & (2**32 - 1), 53 - exponent.astype(np.int64)], axis=1)


def dense_rescale(acc: Array, scale: npt.NDArray[np.float64]) -> Int64Array:
    """Requantise sums of FULLY_CONNECTED: a product rounded to double, then half away from zero.

    Sums are below 2^47 and results below 2^31, where everything else is exact.
    """
    product = acc.astype(np.float64) * scale
    return np.asarray(np.copysign(np.floor(np.abs(product) + 0.5), product).astype(np.int64))


def largest_sum(weights: Array, axis: int) -> Int64Array:
    """Return for each index of `axis` what the products with int16 inputs add up to at most."""
    others = tuple(d for d in range(weights.ndim) if d != axis)
    return np.asarray(np.abs(weights.astype(np.int64)).sum(axis=others) << 15)


# LOGISTIC and TANH

_TABLE_STEPS = 24  # entries per unit: the last one is of 10.6


@functools.cache
def sigmoid_table() -> npt.NDArray[np.uint16]:
    """Return the logistic function of i/24 in Q0.16, i < 256, corrected for half the error of interpolation.

    Source: common.cc, sigmoid_table_uint16.
    """
    steps = np.arange(513) / (2 * _TABLE_STEPS)
    values = 2.0**16 / (1 + np.exp(-steps))
    exact, middle, following = values[:-1:2], values[1::2], values[2::2]
    table = np.floor(exact + (middle - (exact + following) / 2) / 2 + 0.5)
    table[-1] = 2**16 - 1
    return np.minimum(table, 2**16 - 1).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class SigmoidParams:
    """LOGISTIC and TANH: v = (x · multiplier + round) >> shift is x in 2^−12/3, with 7 or 8 bits below.

    round is half of 2^shift, 0 where shift is 0.
    """

    multiplier: int
    shift: int


def sigmoid_params(scale: float, *, tanh: bool) -> SigmoidParams:
    """Return the integers of a LOGISTIC or TANH of int16. Source: activations.cc, Sigmoid/TanhPrepare."""
    exponent = power_of_two(scale)
    if exponent is not None and 0 <= exponent + 12 <= int(tanh):
        return SigmoidParams(3 << (exponent + 12), 0)
    multiplier, shift = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        shift += 1
        multiplier *= 2.0
    return SigmoidParams(int(multiplier), shift)


def power_of_two(scale: float) -> int | None:
    """Return log2 of a scale that is a power of two, None for others. Source: CheckedLog2."""
    exponent = math.log2(scale)
    rounded = math.floor(exponent + 0.5)
    return rounded if abs(exponent - rounded) < 1e-3 else None


def sigmoid(x: Array, params: SigmoidParams) -> Int64Array:
    """Return the logistic function in Q0.15."""
    value, result = _interpolated(x, params, 9)
    result = np.where(value >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1)
    return np.asarray(result >> 10)


def tanh(x: Array, params: SigmoidParams) -> Int64Array:
    """Return the hyperbolic tangent in Q0.15: 2 · sigmoid(2x) − 1."""
    value, result = _interpolated(x, params, 8)
    half = 1 << 23
    result = np.where(value >= 0, result - half + (1 << 7), half - result + (1 << 7) - 1)
    return np.asarray(result >> 8)


def _interpolated(x: Array, params: SigmoidParams, bits: int) -> tuple[Int64Array, Int64Array]:
    """Return the argument in table steps of 2^−bits, and the table at its size in Q0.(16 + bits)."""
    table = sigmoid_table().astype(np.int64)
    rounding = 1 << (params.shift - 1) if params.shift > 0 else 0
    value = numerics.wrap_int32(x.astype(np.int64) * params.multiplier + rounding) >> params.shift
    size = np.abs(value)
    index = np.minimum(size >> bits, 254)
    between = size & ((1 << bits) - 1)
    result = (table[index] << bits) + between * (table[index + 1] - table[index])
    saturated = (0x7FFF << 10) if bits == 9 else (0xFFFF << 8)
    return value, np.where(size >> bits >= 255, saturated, result)


# LEAKY_RELU and RELU


@dataclass(frozen=True, slots=True)
class LinearParams:
    """y = clamp(rq(x, multiplier_1, shift_1)) where x >= 0, else clamp(rq(x, multiplier_2, shift_2))."""

    multiplier_1: int
    shift_1: int
    multiplier_2: int
    shift_2: int


def linear_params(graph: Graph, op: Op) -> LinearParams:
    """Return the integers of a LEAKY_RELU or RELU. Source: activations.cc (float32 arithmetic)."""
    assert isinstance(op.attrs, UnaryAttrs)
    x, y = np.float32(graph.tensors[op.inputs[0]].scale), np.float32(graph.tensors[op.outputs[0]].scale)
    slope = x * np.float32(op.attrs.alpha) / y
    return LinearParams(*quantize_multiplier(float(x / y)), *quantize_multiplier(float(slope)))


# SOFTMAX

_LUT_STEPS = 512


def _lut(function: Callable[[float], float], low: float, high: float) -> npt.NDArray[np.int16]:
    """Return 513 samples of a function in Q0.15, each corrected for half the error of interpolation."""

    def rounded(value: float) -> float:
        return math.copysign(math.floor(abs(value) + 0.5), value)

    step, scale = (high - low) / _LUT_STEPS, 2.0**15
    entries = []
    for i in range(_LUT_STEPS):
        sample = rounded(function(low + i * step) * scale)
        interpolated = rounded((function(low + (i + 1) * step) * scale + sample) / 2)
        middle = rounded(function(low + i * step + step / 2) * scale)
        entries.append(sample - rounded((interpolated - middle) / 2))
    entries.append(rounded(function(high) * scale))
    return np.clip(np.array(entries, np.int64), SMALLEST, LARGEST).astype(np.int16, copy=False)


@functools.cache
def exp_lut() -> npt.NDArray[np.int16]:
    """Return exp on [-10, 0]."""
    return _lut(math.exp, -10.0, 0.0)


@functools.cache
def reciprocal_lut() -> npt.NDArray[np.int16]:
    """Return 1/(1 + x) on [0, 1]."""
    return _lut(lambda v: 1 / (1 + v), 0.0, 1.0)


def lut_lookup(value: Array, lut: Array) -> Int64Array:
    """Return the table at an int16 value, interpolated. Source: common.h, LUTLookup."""
    value = np.asarray(value, np.int64)
    index = 256 + (value >> 7)
    base = lut.astype(np.int64)[index]
    slope = lut.astype(np.int64)[index + 1] - base
    return np.asarray(base + ((slope * (value & 0x7F) + 64) >> 7))


def softmax_requant(graph: Graph, op: Op) -> tuple[int, int]:
    """Return (multiplier, shift) that take differences of inputs to [-65535, 0] for [-10, 0]."""
    assert isinstance(op.attrs, SoftmaxAttrs)
    scale = np.float32(graph.tensors[op.inputs[0]].scale) * np.float32(op.attrs.beta)  # a float there
    return quantize_multiplier(float(scale) / (10.0 / 65535.0))


def softmax(x: Array, multiplier: int, shift: int) -> Int64Array:
    """Return a SOFTMAX in Q0.15 over the last axis of int16 rows [rows, classes]."""
    diff = x.astype(np.int64) - x.astype(np.int64).max(axis=1, keepdims=True)
    scaled = numerics.multiply_by_quantized_multiplier(diff, multiplier, shift) + LARGEST
    exponentials = lut_lookup(np.clip(scaled, SMALLEST, LARGEST), exp_lut())
    total = exponentials.sum(axis=1, keepdims=True)
    zeros = 32 - np.frompyfunc(int.bit_length, 1, 1)(total.astype(object)).astype(np.int64)
    shifted = ((total << (zeros - 1)) + (1 << 13)) >> 14
    scale = lut_lookup(np.clip(shifted - (1 << 15) - (1 << 16), SMALLEST, LARGEST), reciprocal_lut())
    right = 31 - zeros
    result = (exponentials * scale + (1 << (right - 1))) >> right
    return np.asarray(np.clip(result, 0, LARGEST).astype(np.int64))
