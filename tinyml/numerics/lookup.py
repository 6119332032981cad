"""Tables of functions of one int8 value, each entry as TensorFlow Lite's reference kernel computes it.

A table is int64 [256]: the outputs of the inputs -128 to 127. LiteRT itself makes tables of the smooth
functions, in float32 and with the C library's functions, so that the same are called here.

Sources: TensorFlow Lite `kernels/activations.cc`, `elementwise.cc`, `exp.cc`, `neg.cc`;
`kernels/internal/common.h` (LUTPopulate, GetInvSqrtQuantizedMultiplierExp); `reference/hard_swish.h`,
`leaky_relu.h`, `gelu.h`.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyml import numerics
from tinyml.graph import Activation, Array, Tensor
from tinyml.numerics import Int64Array, multiply_by_quantized_multiplier, quantize_multiplier

Float32Array = npt.NDArray[np.float32]

INPUTS: Int64Array = np.arange(-128, 128, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Unary:
    """An operator on one tensor.

    Args:
        x: its input.
        y: its output.
        alpha: LEAKY_RELU's slope below zero, as the file's float32.
        approximate: GELU by tanh.
    """

    x: Tensor
    y: Tensor
    alpha: float = 0.0
    approximate: bool = False


def lookup_table(function: str, unary: Unary) -> Int64Array:
    """Return the table of a function in `FUNCTIONS`."""
    return np.clip(FUNCTIONS[function](unary), -128, 127)


# Float functions


def _float_table(transform: Callable[[Float32Array], Float32Array], unary: Unary) -> Int64Array:
    """Return round(transform(real x) / scale) + zero point, every step in float32. Source: LUTPopulate."""
    inverse = np.float32(1) / np.float32(unary.y.scale)
    real = np.float32(unary.x.scale) * (INPUTS - unary.x.zero_point).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        scaled = transform(real) * inverse
        rounded = np.copysign(np.floor(np.abs(scaled.astype(np.float64)) + 0.5), scaled)
        shifted = rounded.astype(np.float32) + np.float32(unary.y.zero_point)
    return np.asarray(np.clip(shifted, -(2.0**31), 2.0**31 - 1).astype(np.int64))


@functools.cache
def _c_function(name: str) -> Callable[[float], float]:
    """Return a float function of the C library, or where there is none Python's, rounded to float32."""
    try:
        function = getattr(ctypes.CDLL(None), f"{name}f")
    except (AttributeError, OSError, TypeError):
        double: Callable[[float], float] = getattr(math, name)
        return double
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    single: Callable[[float], float] = function
    return single


def _call(name: str, values: Float32Array) -> Float32Array:
    function = _c_function(name)

    def one(value: float) -> float:
        try:
            return function(value)
        except OverflowError:  # Python's, where C returns infinity
            return math.inf

    return np.array([one(float(value)) for value in values], np.float32)


def _logistic(x: Float32Array) -> Float32Array:
    return np.float32(1) / (np.float32(1) + _call("exp", -x))


def _elu(x: Float32Array) -> Float32Array:
    return np.where(x < 0, _call("expm1", np.minimum(x, np.float32(0))), x)


def _gelu(x: Float32Array) -> Float32Array:
    return np.float32(0.5) * x * _call("erfc", x * np.float32(-math.sqrt(0.5)))


def _gelu_by_tanh(x: Float32Array) -> Float32Array:
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
    return np.float32(0.5) * x * (np.float32(1) + _call("tanh", inner))


def _log(unary: Unary) -> Int64Array:
    """LOG: the smallest output where the logarithm does not exist."""
    smallest = np.float32(-128 - unary.y.zero_point) * np.float32(unary.y.scale)

    def transform(x: Float32Array) -> Float32Array:
        return np.where(x > 0, _call("log", np.maximum(x, np.finfo(np.float32).tiny)), smallest)

    return _float_table(transform, unary)


def _sqrt(unary: Unary) -> Int64Array:
    """SQRT, truncated; LiteRT refuses negative inputs as it runs, here they are zero."""
    real = np.float32(unary.x.scale) * np.maximum(INPUTS - unary.x.zero_point, 0).astype(np.float32)
    return np.asarray(
        np.trunc(np.sqrt(real) / np.float32(unary.y.scale)).astype(np.int64) + unary.y.zero_point
    )


def float_function(function: str, x: Float32Array, operand: float = 0.0) -> Array:
    """Compute a function in `FLOAT_FUNCTIONS` or `FLOAT_PAIRS` of float32, as LiteRT's float operator does.

    Args:
        function: its TFLite name.
        x: float32, of any shape.
        operand: the constant second operand of those in `FLOAT_PAIRS`.

    Returns:
        float32 of x's shape, or bool where the function compares.
    """
    flat = np.asarray(x, np.float32).reshape(-1)
    if function in FLOAT_PAIRS:
        return FLOAT_PAIRS[function](flat, np.float32(operand)).reshape(x.shape)
    with np.errstate(over="ignore"):
        return FLOAT_FUNCTIONS[function](flat).astype(np.float32).reshape(x.shape)


def _pow(x: Float32Array, exponent: np.float32) -> Float32Array:
    try:
        function = ctypes.CDLL(None).powf
    except (AttributeError, OSError, TypeError):
        with np.errstate(all="ignore"):
            return np.power(x.astype(np.float64), float(exponent)).astype(np.float32)
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * 2
    return np.array([function(float(value), float(exponent)) for value in x], np.float32)


FLOAT_FUNCTIONS: Mapping[str, Callable[[Float32Array], Float32Array]] = {
    "CEIL": np.ceil,
    "COS": functools.partial(_call, "cos"),
    "ELU": _elu,
    "FLOOR": np.floor,
    "NEG": np.negative,
    "ROUND": np.rint,
    "SIGN": np.sign,
    "SIN": functools.partial(_call, "sin"),
    "SQUARE": np.square,
}
"""Functions of one float32 that converters leave between quantised layers, by their TFLite names."""

FLOAT_PAIRS: Mapping[str, Callable[[Float32Array, np.float32], Array]] = {
    "NOT_EQUAL": np.not_equal,
    "POW": _pow,
}
"""The same of a float32 and a constant."""


# Integer functions


def _neg(unary: Unary) -> Int64Array:
    """NEG: the reference takes the bytes for integers, whatever their zero points, and wraps."""
    return np.where(INPUTS == -128, -128, -INPUTS)


def _abs(unary: Unary) -> Int64Array:
    value = np.abs(INPUTS - unary.x.zero_point)
    if unary.x.scale != unary.y.scale:
        value = multiply_by_quantized_multiplier(value, *_ratio(unary))
    return value + unary.y.zero_point


def _ratio(unary: Unary, factor: float = 1.0) -> tuple[int, int]:
    """Return the multiplier of input scale · factor / output scale, in float32."""
    real = np.float32(unary.x.scale) * np.float32(factor) / np.float32(unary.y.scale)
    return quantize_multiplier(float(real))


def _relu(activation: Activation) -> Callable[[Unary], Int64Array]:
    def function(unary: Unary) -> Int64Array:
        scaled = multiply_by_quantized_multiplier(INPUTS - unary.x.zero_point, *_ratio(unary))
        low, high = numerics.activation_range(activation, unary.y.scale, unary.y.zero_point)
        return np.asarray(np.minimum(np.maximum(scaled + unary.y.zero_point, low), high))

    return function


def _leaky_relu(unary: Unary) -> Int64Array:
    centred = INPUTS - unary.x.zero_point
    positive, negative = (
        multiply_by_quantized_multiplier(centred, *_ratio(unary, factor)) for factor in (1.0, unary.alpha)
    )
    return np.where(centred >= 0, positive, negative) + unary.y.zero_point


def _rsqrt(unary: Unary) -> Int64Array:
    """RSQRT; LiteRT refuses negative inputs as it runs, here they are the largest output like zero."""
    extra = 20
    real = 1.0 / float(np.sqrt(np.float32(unary.x.scale)) * np.float32(unary.y.scale))
    multiplier, shift = quantize_multiplier(real)
    table = np.full(256, 127, np.int64)
    for i, value in enumerate(int(v) for v in INPUTS - unary.x.zero_point):
        if value > 0:
            inverse, inverse_shift = _inverse_sqrt(value)
            data = multiply_by_quantized_multiplier(np.array(1), inverse, inverse_shift + extra)
            table[i] = multiply_by_quantized_multiplier(data, multiplier, shift - extra) + unary.y.zero_point
    return table


@functools.cache
def _inverse_sqrt(value: int) -> tuple[int, int]:
    """Return (multiplier, shift) of 1/sqrt(value), 0 < value < 2^29, by five Newton steps on Q3.28.

    Source: GetInvSqrtQuantizedMultiplierExp with a reversed shift.
    """
    if value == 1:
        return 2**31 - 1, 0
    pairs = (32 - value.bit_length() - 1) // 2 - 1
    right = 11 - pairs
    scaled = (value << (2 * pairs)) >> 1
    half = int(numerics.rounding_divide_by_pot(np.array(scaled), 1))
    three_halves = (1 << 28) + (1 << 27)

    def product(a: int, b: int) -> int:
        return int(numerics.saturating_rounding_doubling_high_mul(np.array(a), b))

    def saturate(a: int) -> int:
        return min(max(a, -(2**31)), 2**31 - 1)

    x = 1 << 28
    for _ in range(5):
        cube = saturate(product(product(x, x), x) << 6)
        x = saturate((product(three_halves, x) - product(half, cube)) << 3)
    x = product(x, 1518500250)  # sqrt(2)/2
    if right < 0:
        x, right = x << -right, 0
    return x, -right


@dataclass(frozen=True, slots=True)
class HardSwishParams:
    """HARD_SWISH in 16-bit fixed point: see `_hard_swish`."""

    multiplier: int
    exponent: int
    reluish_multiplier: int
    reluish_exponent: int


def hard_swish_params(x: Tensor, y: Tensor) -> HardSwishParams:
    """Return the integers of a HARD_SWISH; LiteRT refuses an exponent above 0. Source: activations.cc."""
    fine = np.float32(1 / 128) * np.float32(x.scale)
    (multiplier, exponent), (reluish, reluish_exponent) = (
        quantize_multiplier(float(real))
        for real in (fine / np.float32(y.scale), fine / (np.float32(3) / np.float32(32768)))
    )
    return HardSwishParams(_halved(multiplier), exponent, _halved(reluish), reluish_exponent)


def _halved(multiplier: int) -> int:
    """Round a 32-bit multiplier to 16 bits. Source: DownScaleInt32ToInt16Multiplier."""
    return min((multiplier + (1 << 15)) >> 16, 2**15 - 1)


def _hard_swish(unary: Unary) -> Int64Array:
    """HARD_SWISH: x · relu6(x + 3)/6 as a product of x and a factor in [0, 1]. Source: hard_swish.h."""
    p = hard_swish_params(unary.x, unary.y)
    fine = (INPUTS - unary.x.zero_point) << 7
    on_output_scale = _high_mul_16(fine, p.multiplier)
    reluish = fine
    if p.reluish_exponent > 0:
        reluish = _saturate_16(reluish << (p.reluish_exponent - 1))
    reluish = _high_mul_16(reluish, p.reluish_multiplier)
    if p.reluish_exponent > 0:
        reluish = _saturate_16(reluish << 1)
    if p.reluish_exponent < 0:
        reluish = _divide_16(reluish, -p.reluish_exponent)
    reluish = (reluish + (1 << 15)) >> 1
    product = reluish * on_output_scale
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return _divide_16(truncated, -p.exponent) + unary.y.zero_point


def _saturate_16(values: Int64Array) -> Int64Array:
    return np.clip(values, -(2**15), 2**15 - 1)


def _high_mul_16(values: Int64Array, multiplier: int) -> Int64Array:
    """Return round(a · b / 2^15), halves up. Source: gemmlowp SaturatingRoundingDoublingHighMul."""
    return (values * multiplier + (1 << 14)) >> 15


def _divide_16(values: Int64Array, exponent: int) -> Int64Array:
    """RoundingDivideByPOT as it is for 16-bit integers, whose mask has no more than 16 bits."""
    mask = int(np.int64((1 << exponent) - 1).astype(np.int16))
    threshold = (mask >> 1) + (values < 0)
    return (values >> exponent) + ((values & mask) > threshold)


def _float(transform: Callable[[Float32Array], Float32Array]) -> Callable[[Unary], Int64Array]:
    return functools.partial(_float_table, transform)


FUNCTIONS: Mapping[str, Callable[[Unary], Int64Array]] = {
    "ABS": _abs,
    "ELU": _float(_elu),
    "EXP": _float(functools.partial(_call, "exp")),
    "GELU": lambda unary: _float_table(_gelu_by_tanh if unary.approximate else _gelu, unary),
    "HARD_SWISH": _hard_swish,
    "LEAKY_RELU": _leaky_relu,
    "LOG": _log,
    "LOGISTIC": _float(_logistic),
    "NEG": _neg,
    "RELU": _relu(Activation.RELU),
    "RELU6": _relu(Activation.RELU6),
    "RELU_N1_TO_1": _relu(Activation.RELU_N1_TO_1),
    "RSQRT": _rsqrt,
    "SQRT": _sqrt,
    "TANH": _float(functools.partial(_call, "tanh")),
}
"""Functions of one int8 value by their TFLite names: the unclamped table."""
