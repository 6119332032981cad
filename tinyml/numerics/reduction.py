"""Integers of the reductions beside MEAN, and of L2_NORMALIZATION and LOG_SOFTMAX."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyml.graph import Array, Graph, Op, ReduceAttrs
from tinyml.numerics import (
    Int64Array,
    MeanParams,
    SoftmaxParams,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    reciprocal_of_one_plus,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    softmax_table,
)


def sum_params(graph: Graph, op: Op) -> MeanParams:
    """Return the integers of a SUM: those of a MEAN without the division.

    Source: lite/kernels/internal/reference/reduce.h, QuantizedMeanOrSum. LiteRT's reference registration
    reads int8 as uint8 (its issue 4079); these are the numbers of its other one, which does not.
    """
    assert isinstance(op.attrs, ReduceAttrs)
    x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    count = math.prod(x.shape[a] for a in op.attrs.axes)
    multiplier, shift = quantize_multiplier(x.scale / output.scale)
    return MeanParams(count, -count * x.zero_point, multiplier, shift, output.zero_point)


@dataclass(frozen=True, slots=True)
class ProductParams:
    """REDUCE_PROD: p = x[0] + offset, then p = rq(p · (x[k] + offset)) for the others in their order;
    y = clamp(rq(p) + offset_out, −128, 127), where rq(v) = (v · multiplier + 2^(shift − 1)) >> shift.
    """

    offset: int
    multiplier: int  # 15 bits
    shift: int  # to the right
    offset_out: int


def product_params(graph: Graph, op: Op) -> ProductParams:
    """Return the integers of a REDUCE_PROD.

    The n-th root of the output's scale goes into each of the n steps.

    Source: lite/kernels/reduce.cc, GetQuantProdScaling; internal/common.cc, MultiplyByQuantizedMultiplier
    of int64.
    """
    x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    count = x.elements // output.elements
    multiplier, shift = quantize_multiplier(x.scale / output.scale ** (1.0 / count))
    reduced = (multiplier + (1 << 15)) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF
    return ProductParams(-x.zero_point, reduced, 15 - shift, output.zero_point)


def inverse_sqrt(total: Array) -> tuple[Int64Array, Int64Array]:
    """Return (multiplier, shift) with 1/√total ≈ multiplier · 2^(shift − 31); 1 stands for 0 as well.

    Five Newton steps on Q3.28, after the total has been normalised to [2^27, 2^29).

    Source: internal/common.h, GetInvSqrtQuantizedMultiplierExp.
    """
    high = saturating_rounding_doubling_high_mul
    normal = np.maximum(np.asarray(total, np.int64), 2)
    far = normal >= 1 << 29
    normal = np.where(far, normal >> 2, normal)
    pairs = (_leading_zeros(normal) - 1) // 2 - 1
    right = 11 + far - pairs
    normal = normal << 2 * pairs
    half = rounding_divide_by_pot(normal >> 1, 1)
    x = np.full_like(normal, 1 << 28)
    for _ in range(5):
        cube = _saturated(high(high(x, x), x) << 6)
        x = _saturated((high(x, (1 << 28) + (1 << 27)) - high(half, cube)) << 3)
    x = high(x, _ROOT_HALF)
    x = x << np.maximum(-right, 0)
    short = np.asarray(total) <= 1
    return np.where(short, 2**31 - 1, x), np.where(short, 0, -np.maximum(right, 0))


@dataclass(frozen=True, slots=True, eq=False)
class LogSoftmaxParams:
    """LOG_SOFTMAX over rows, in integers.

    With m the row's maximum and d = m − x[c]: sum = Σ rdbp(exp.exp_table[d], 12); log = `log_of_sum`(sum),
    Q5.26; y[c] = clamp(rdbp(exp.scaled[d] − log, 22) + 127, −128, 127), and −128 where
    −d <= `least_difference`(log). rdbp is `rounding_divide_by_pot`.
    """

    exp: SoftmaxParams
    reverse_multiplier: int
    reverse_shift: int  # to the left

    def least_difference(self, log: Array) -> Int64Array:
        """Return the differences from which on the output is −128."""
        reached = multiply_by_quantized_multiplier(
            np.asarray(log, np.int64) - 2**31, self.reverse_multiplier, self.reverse_shift
        )
        return np.maximum(self.exp.diff_min - 1, reached)


def log_softmax_params(graph: Graph, op: Op) -> LogSoftmaxParams:
    """Return the integers of a LOG_SOFTMAX.

    Source: lite/kernels/activations.cc, LogSoftmaxPrepare; internal/quantization_util.cc,
    PreprocessLogSoftmaxScalingExp; reference/integer_ops/log_softmax.h.
    """
    exp = softmax_table(graph.tensors[op.inputs[0]].scale)
    multiplier, shift = quantize_multiplier(float(1 << (31 - exp.left_shift)) / exp.multiplier)
    return LogSoftmaxParams(exp, multiplier, shift)


_LOG_2, _ROOT_HALF, _FOURTH_ROOT_HALF = 1488522236, 1518500250, 1805811301  # Q0.31
_ALPHA_N, _ALPHA_D, _ALPHA_I, _ALPHA_F = 117049297, 127690142, 1057819769, 638450708


def log_of_sum(total: Array) -> Int64Array:
    """Return log(total) in Q5.26 of sums with 12 integer bits, at least 1.

    A rational function of the sum, normalised around √√½, plus log 2 times the power. Of the two
    normalisations, with and without a factor of √½, the one applies whose value is smaller.

    Source: internal/common.h, log_x_for_x_greater_than_or_equal_to_1.
    """
    high = saturating_rounding_doubling_high_mul
    z = np.asarray(total, np.int64)
    zeros_a = _leading_zeros(z)
    a = _saturated(high(z << (zeros_a - 1), _ROOT_HALF) << 1)
    power_a = ((12 - zeros_a) << 25) + (1 << 23)  # Q6.25, and a quarter
    headroom = _leading_zeros(high(z, _ROOT_HALF)) - 1
    b = _saturated(z << headroom)
    power_b = ((12 - headroom) << 25) - (1 << 23)
    r, power = np.minimum(a, b), np.maximum(power_a, power_b)
    p = (r + _FOURTH_ROOT_HALF + 1) >> 1
    q = 2 * (r - _FOURTH_ROOT_HALF)
    square = high(q, q)
    numerator = high(q, r) + high(high(q, square), _ALPHA_N)
    denominator = high(p, _ALPHA_I + q + high(square, _ALPHA_D)) + high(q, _ALPHA_F)
    reciprocal = reciprocal_of_one_plus(denominator)
    log = high(power, _LOG_2) + high(rounding_divide_by_pot(numerator, 6), reciprocal)
    return _saturated(log << 1)


def _leading_zeros(x: Int64Array) -> Int64Array:
    lengths = np.frompyfunc(int.bit_length, 1, 1)(x.astype(object))
    return np.asarray(32 - lengths.astype(np.int64))


def _saturated(x: Array) -> Int64Array:
    return np.clip(np.asarray(x, np.int64), -(2**31), 2**31 - 1)
